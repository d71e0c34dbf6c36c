//! Outlier detection over real sockets: connected endpoints that fail their calls are ejected for a while.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod backend;
mod scripted_server;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use backend::{Backend, Behavior, call, call_within, fails, list, ready, until};
use balanced_channel::{Channel, OutlierDetection};
use scripted_server::{MESSAGE, ScriptedResponse, ScriptedServer, request, send, unary};
use tonic::Code;

/// A deadline that only a stopped backend misses, even on a loaded machine.
const SOON: Duration = Duration::from_millis(800);

/// Returns settings that eject for 30 s after five missed deadlines that left an endpoint half of `SOON`.
fn half_of_soon() -> OutlierDetection {
    OutlierDetection { min_attempt_time: SOON / 2, ..OutlierDetection::default() }
}

fn ejected(channel: &Channel) -> Vec<String> {
    let out = |s: balanced_channel::SubchannelSnapshot| s.ejected_for.map(|_| s.address.to_string());
    channel.snapshot().subchannels.into_iter().filter_map(out).collect()
}

/// Returns the number of calls that the channel has sent to a backend.
fn sent(channel: &Channel, backend: &Backend) -> u64 {
    let subchannels = channel.snapshot().subchannels;
    subchannels.into_iter().find(|s| s.address == backend.address).unwrap().started
}

fn ejection(base: Duration) -> OutlierDetection {
    OutlierDetection { base_ejection_time: base, ..OutlierDetection::default() }
}

#[tokio::test]
async fn stopped_backend_is_ejected_after_five_missed_deadlines() {
    let backends = Backend::some(3);
    let channel = Channel::builder(list(&backends)).outlier_detection(half_of_soon()).build().unwrap();
    ready(&channel, 3).await;
    let _stopped = backends[1].freeze();

    // A single caller calls the backends in turn, so that every third call goes to the stopped one.
    let mut failed = 0;
    for _ in 0..60 {
        match call_within(&channel, SOON).await {
            Ok(_) => {}
            Err(status) => {
                assert_eq!(status.code(), Code::DeadlineExceeded);
                failed += 1;
            }
        }
    }
    assert_eq!((failed, sent(&channel, &backends[1])), (5, 5));
    assert_eq!(ejected(&channel), [backends[1].address.to_string()]);
    let out = channel.snapshot().subchannels.into_iter().find_map(|s| s.ejected_for).unwrap();
    assert!((20.0..=30.0).contains(&out), "ejected for {out} s more");
}

#[tokio::test]
async fn stopped_backend_under_load_fails_only_calls_before_the_first_deadlines() {
    const CALLERS: usize = 64;
    let backends = Backend::some(3);
    let channel = Channel::builder(list(&backends)).outlier_detection(half_of_soon()).build().unwrap();
    ready(&channel, 3).await;
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (channel, stop) = (channel.clone(), stop.clone());
            tokio::spawn(async move {
                let mut failed = 0;
                while !stop.load(Ordering::Relaxed) {
                    failed += usize::from(call_within(&channel, SOON).await.is_err());
                }
                failed
            })
        })
        .collect();
    until("calls", || (backends[0].calls() > 200).then_some(())).await;
    let _stopped = backends[0].freeze();
    until("the ejection", || (!ejected(&channel).is_empty()).then_some(())).await;
    let (frozen, well) = (sent(&channel, &backends[0]), backends[1].calls());
    until("more calls elsewhere", || (backends[1].calls() > well + 500).then_some(())).await;
    // One more call of each caller may have been picked before the picker changed.
    assert!(sent(&channel, &backends[0]) - frozen <= CALLERS as u64);
    stop.store(true, Ordering::Relaxed);
    let mut failed = 0;
    for caller in callers {
        failed += caller.await.unwrap();
    }
    assert!((5..=2 * CALLERS).contains(&failed), "{failed} failed");
}

#[tokio::test]
async fn ejected_backend_is_reinstated_after_the_ejection_time() {
    let backends = Backend::some(3);
    let channel = Channel::builder(list(&backends))
        .outlier_detection(ejection(Duration::from_millis(200)))
        .build()
        .unwrap();
    ready(&channel, 3).await;
    backends[2].set_behavior(Behavior::Failing);
    let mut failed = 0;
    while ejected(&channel).is_empty() {
        failed += usize::from(call(&channel, "").await.is_err());
        assert!(failed <= 5);
    }
    assert_eq!(failed, 5);
    backends[2].set_behavior(Behavior::Healthy);
    until("its return", || ejected(&channel).is_empty().then_some(())).await;
    let before = backends[2].calls();
    for _ in 0..9 {
        call(&channel, "").await.unwrap();
    }
    assert_eq!(backends[2].calls() - before, 3);
}

#[tokio::test]
async fn one_of_three_may_be_ejected_and_ejection_never_empties_the_pool() {
    for (percent, left) in [(10, 2), (100, 0)] {
        let backends = Backend::some(3);
        let config = OutlierDetection { max_ejection_percent: percent, ..OutlierDetection::default() };
        let channel = Channel::builder(list(&backends)).outlier_detection(config).build().unwrap();
        ready(&channel, 3).await;
        backends.iter().for_each(|backend| backend.set_behavior(Behavior::Failing));
        for _ in 0..60 {
            assert_eq!(fails(&channel, "").await, (Code::Unavailable, "sick".into()));
        }
        assert_eq!(ejected(&channel).len(), 3 - left, "{percent} %");
        backends.iter().for_each(|backend| backend.set_behavior(Behavior::Healthy));
        for _ in 0..9 {
            call(&channel, "").await.unwrap();
        }
        let calls = backends.iter().filter(|backend| backend.calls() > 20).count();
        assert!(calls >= 2, "the remaining backends, or all, get the calls");
    }
}

#[tokio::test]
async fn request_errors_and_lost_connections_eject_no_endpoint() {
    let mut backends = Backend::some(2);
    let channel = Channel::new(list(&backends)).unwrap();
    ready(&channel, 2).await;
    for _ in 0..40 {
        assert_eq!(fails(&channel, "fail it is Monday").await.0, Code::FailedPrecondition);
    }
    // Twenty calls in flight are lost with their connection.
    let lost = {
        let channel = channel.clone();
        tokio::spawn(
            async move { futures_util::future::join_all((0..40).map(|_| call(&channel, "60000"))).await },
        )
    };
    until("the calls", || (backends[0].calls() == 40 && backends[1].calls() == 40).then_some(())).await;
    let address = backends[0].address;
    drop(backends.remove(0));
    backends.push(Backend::on(address));
    until("its return", || {
        let snapshot = channel.snapshot();
        let lost = snapshot.subchannels.iter().any(|s| s.address == address && s.last_error.is_some());
        (lost && snapshot.ready() == 2).then_some(())
    })
    .await;
    assert_eq!(ejected(&channel), Vec::<String>::new());
    for _ in 0..10 {
        call(&channel, "").await.unwrap();
    }
    assert_eq!(backends[1].calls(), 5);
    lost.abort();
}

#[tokio::test]
async fn new_process_at_the_address_of_an_ejected_one_is_not_ejected() {
    let mut backends = Backend::some(2);
    let channel = Channel::new(list(&backends)).unwrap();
    ready(&channel, 2).await;
    backends[1].set_behavior(Behavior::Failing);
    for _ in 0..20 {
        drop(call(&channel, "").await);
    }
    assert_eq!(ejected(&channel).len(), 1);
    let address = backends[1].address;
    drop(backends.pop());
    backends.push(Backend::on(address));
    until("calls on it", || {
        let snapshot = channel.snapshot();
        (snapshot.ready() == 2 && snapshot.subchannels.iter().all(|s| s.ejected_for.is_none())).then_some(())
    })
    .await;
    for _ in 0..10 {
        call(&channel, "").await.unwrap();
    }
    assert_eq!(backends[1].calls(), 5);
}

#[tokio::test]
async fn failing_backend_without_outlier_detection_is_not_ejected() {
    let backends = Backend::some(2);
    let channel =
        Channel::builder(list(&backends)).outlier_detection(OutlierDetection::off()).build().unwrap();
    ready(&channel, 2).await;
    backends[0].set_behavior(Behavior::Failing);
    let mut failed = 0;
    for _ in 0..40 {
        failed += usize::from(call(&channel, "").await.is_err());
    }
    assert_eq!(failed, 20);
}

#[tokio::test]
async fn deadline_shorter_than_the_minimum_time_ejects_no_endpoint() {
    let backends = Backend::some(3);
    let channel = Channel::new(list(&backends)).unwrap();
    ready(&channel, 3).await;
    let hasty = async {
        for _ in 0..1000 {
            let late = call_within(&channel, Duration::from_millis(1)).await;
            drop(late);
        }
    };
    let others = async {
        for _ in 0..100 {
            call(&channel, "5").await.unwrap();
        }
    };
    // Every response takes 5 ms, so most calls with a short deadline end with DEADLINE_EXCEEDED.
    let slow = async {
        for _ in 0..100 {
            let mut request = tonic::Request::new(proto::hello::Greeting { name: "5".into() });
            request.set_timeout(Duration::from_millis(1));
            let mut client = proto::hello::hello_client::HelloClient::new(channel.clone());
            assert!(client.say_hello(request).await.is_err());
        }
    };
    futures_util::join!(hasty, others, slow);
    assert_eq!(ejected(&channel), Vec::<String>::new());
}

#[tokio::test]
async fn incomplete_response_ejects_its_endpoint() {
    for (response, code) in [
        (ScriptedResponse::Begin, Code::DeadlineExceeded),
        (ScriptedResponse::Message(Code::Unavailable), Code::Unavailable),
    ] {
        let bad = ScriptedServer::always(response).await;
        let good = ScriptedServer::always(ScriptedResponse::Message(Code::Ok)).await;
        let outliers =
            OutlierDetection { min_attempt_time: Duration::from_millis(50), ..OutlierDetection::default() };
        let target = format!("ipv4:{},{}", bad.address, good.address);
        let channel = Channel::builder(target).outlier_detection(outliers).build().unwrap();
        ready(&channel, 2).await;
        let mut codes = Vec::new();
        for _ in 0..20 {
            let call = request(&[("grpc-timeout", "100m")], http_body_util::Full::from(MESSAGE));
            codes.push(send(&channel, call).await.code);
        }
        codes.retain(|code| *code != Code::Ok);
        assert_eq!(codes, [code; 5]);
        assert_eq!(ejected(&channel), [bad.address.to_string()]);
        assert_eq!(unary(&channel).await.code, Code::Ok);
    }
}

#[tokio::test]
async fn stream_that_breaks_off_after_its_second_message_is_no_evidence() {
    let server = ScriptedServer::always(ScriptedResponse::Messages(1000, 1)).await;
    let other = ScriptedServer::always(ScriptedResponse::Message(Code::Ok)).await;
    let outliers = OutlierDetection { min_attempt_time: Duration::ZERO, ..OutlierDetection::default() };
    let target = format!("ipv4:{},{}", server.address, other.address);
    let channel = Channel::builder(target).outlier_detection(outliers).build().unwrap();
    ready(&channel, 2).await;
    for _ in 0..12 {
        let call = request(&[("grpc-timeout", "200m")], http_body_util::Full::from(MESSAGE));
        send(&channel, call).await;
    }
    assert_eq!(ejected(&channel), Vec::<String>::new());
}
