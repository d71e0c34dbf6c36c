//! The metrics of a channel, after calls with known outcomes.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod backend;
mod scripted_server;

use std::{collections::BTreeMap, time::Duration};

use backend::{Backend, Behavior, call, endpoints, list, manual_channel_with, ready, until, unused_address};
use balanced_channel::{
    Builder, Channel, OutlierDetection, PickFirst, RetryPolicy, WeightedRoundRobin,
    metrics::{Histogram, Kind, Metric, Value},
};
use bytes::Bytes;
use h2::Reason;
use prost::Message as _;
use proto::hello::{Greeting, Introduction};
use scripted_server::{
    MESSAGE, ScriptedResponse, ScriptedServer, Step, TEST_TIMEOUT, request, send, unary, upload,
};
use tokio::sync::mpsc;
use tonic::Code;

/// Returns every series of the instrument by its labels without the target, as `name=value` in one text.
fn series(channel: &Channel, name: &str) -> BTreeMap<String, Value> {
    let target = channel.snapshot().target;
    let metric = channel.metrics().into_iter().find(|metric| metric.name == name);
    let points = metric.unwrap_or_else(|| panic!("there is no {name}")).points.into_iter();
    points
        .map(|mut point| {
            assert_eq!(point.labels.remove(0), ("grpc.target", target.clone()));
            let labels: Vec<_> = point.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            (labels.join(" "), point.value)
        })
        .collect()
}

fn counts(channel: &Channel, name: &str) -> BTreeMap<String, u64> {
    let count = |(labels, value)| match value {
        Value::Count(count) => (labels, count),
        other => panic!("{name} is {other:?}"),
    };
    series(channel, name).into_iter().map(count).collect()
}

fn histograms(channel: &Channel, name: &str) -> BTreeMap<String, Histogram> {
    let histogram = |(labels, value)| match value {
        Value::Histogram(histogram) => (labels, histogram),
        other => panic!("{name} is {other:?}"),
    };
    series(channel, name).into_iter().map(histogram).collect()
}

/// Returns the number of values that each series of a histogram has, and their sum in whole units.
fn sums(channel: &Channel, name: &str) -> BTreeMap<String, (u64, u64)> {
    let sum = |(labels, histogram): (_, Histogram)| (labels, (histogram.count(), histogram.sum as u64));
    histograms(channel, name).into_iter().map(sum).collect()
}

fn map<V>(entries: impl IntoIterator<Item = (&'static str, V)>) -> BTreeMap<String, V> {
    entries.into_iter().map(|(labels, value)| (labels.to_owned(), value)).collect()
}

fn to(server: &ScriptedServer) -> Builder {
    Channel::builder(format!("ipv4:{}", server.address)).call_metrics(true)
}

const STARTED: &str = "grpc.client.attempt.started";
const ATTEMPTS: &str = "grpc.client.attempt.duration";
const SENT: &str = "grpc.client.attempt.sent_total_compressed_message_size";
const RECEIVED: &str = "grpc.client.attempt.rcvd_total_compressed_message_size";
const CALLS: &str = "grpc.client.call.duration";
const RETRIES: &str = "grpc.client.call.retries";
const TRANSPARENT: &str = "grpc.client.call.transparent_retries";
const DELAY: &str = "grpc.client.call.retry_delay";

const OK: &str = "grpc.method=other grpc.status=OK";
const UNAVAILABLE: &str = "grpc.method=other grpc.status=UNAVAILABLE";

#[tokio::test]
async fn calls_of_a_generated_client_are_counted_by_method_and_status_to_the_byte() {
    let backend = Backend::start();
    let channel = Channel::builder(list([&backend])).call_metrics(true).build().unwrap();
    let mut bytes = [0, 0];
    for _ in 0..5 {
        let hostname = call(&channel, "7").await.unwrap();
        let introduction = Introduction { name: "7".into(), version: "v1".into(), hostname };
        bytes[0] += Greeting { name: "7".into() }.encoded_len() as u64;
        bytes[1] += introduction.encoded_len() as u64;
    }
    let failing = Greeting { name: "fail me".into() };
    for _ in 0..2 {
        assert_eq!(call(&channel, &failing.name).await.unwrap_err().code(), Code::FailedPrecondition);
    }
    const OK: &str = "grpc.method=hello.Hello/SayHello grpc.status=OK";
    const FAILED: &str = "grpc.method=hello.Hello/SayHello grpc.status=FAILED_PRECONDITION";
    assert_eq!(counts(&channel, STARTED), map([("grpc.method=hello.Hello/SayHello", 7)]));
    let sent = 2 * failing.encoded_len() as u64;
    assert_eq!(sums(&channel, SENT), map([(OK, (5, bytes[0])), (FAILED, (2, sent))]));
    assert_eq!(sums(&channel, RECEIVED), map([(OK, (5, bytes[1])), (FAILED, (2, 0))]));
    for name in [ATTEMPTS, CALLS] {
        let took = histograms(&channel, name);
        assert_eq!((took[OK].count(), took[FAILED].count(), took.len()), (5, 2, 2), "{name}");
        // Each of the five calls took 7 ms in the backend, so none is below the bound of 6 ms.
        assert!(took[OK].sum >= 5.0 * 0.007, "{name}: {} s", took[OK].sum);
        let below = took[OK].bounds.partition_point(|bound| *bound <= 0.006);
        assert_eq!(took[OK].counts[..below].iter().sum::<u64>(), 0, "{name}");
    }
    for name in [RETRIES, TRANSPARENT, DELAY] {
        assert!(series(&channel, name).is_empty(), "no call was retried: {name}");
    }
}

#[tokio::test]
async fn each_attempt_is_counted_and_the_call_once() {
    let flaky = ScriptedServer::start(|number| match number {
        0 | 1 => ScriptedResponse::Status(Code::Unavailable),
        _ => ScriptedResponse::Message(Code::Ok),
    })
    .await;
    let policy = RetryPolicy { initial_backoff: Duration::from_millis(20), ..RetryPolicy::default() };
    let channel = to(&flaky).retry_policy(policy).build().unwrap();
    assert_eq!(unary(&channel).await.code, Code::Ok);
    assert_eq!(counts(&channel, STARTED), map([("grpc.method=other", 3)]));
    assert_eq!(sums(&channel, SENT), map([(OK, (1, 3)), (UNAVAILABLE, (2, 6))]));
    assert_eq!(sums(&channel, RECEIVED), map([(OK, (1, 3)), (UNAVAILABLE, (2, 0))]));
    let attempts = histograms(&channel, ATTEMPTS);
    assert_eq!((attempts[OK].count(), attempts[UNAVAILABLE].count()), (1, 2));
    let calls = histograms(&channel, CALLS);
    assert_eq!((calls.len(), calls[OK].count()), (1, 1));
    assert_eq!(sums(&channel, RETRIES), map([("grpc.method=other", (1, 2))]));
    assert!(series(&channel, TRANSPARENT).is_empty());
    let delay = &histograms(&channel, DELAY)["grpc.method=other"];
    // The waits are 20 and 40 ms, at most a fifth shorter by jitter.
    assert!(delay.count() == 1 && delay.sum >= 0.048, "{delay:?}");
    assert!(calls[OK].sum >= delay.sum + attempts[OK].sum, "the duration of the call includes its waits");
}

#[tokio::test]
async fn transparent_retries_are_counted_separately() {
    let server = ScriptedServer::start(|number| match number {
        0..3 => ScriptedResponse::Reset(Reason::REFUSED_STREAM),
        _ => ScriptedResponse::Message(Code::Ok),
    })
    .await;
    let channel = to(&server).build().unwrap();
    assert_eq!(unary(&channel).await.code, Code::Ok);
    assert_eq!(unary(&channel).await.code, Code::Ok);
    assert_eq!(counts(&channel, STARTED), map([("grpc.method=other", 5)]));
    assert_eq!(sums(&channel, TRANSPARENT), map([("grpc.method=other", (1, 3))]));
    assert!(series(&channel, RETRIES).is_empty());
    let calls = histograms(&channel, CALLS);
    assert_eq!((calls.len(), calls[OK].count()), (1, 2));
}

#[tokio::test]
async fn call_without_a_response_is_counted_with_its_status() {
    let silent = ScriptedServer::always(ScriptedResponse::Silence).await;
    let channel = to(&silent).build().unwrap();
    ready(&channel, 1).await;
    let late = send(&channel, request(&[("grpc-timeout", "20m")], http_body_util::Full::from(MESSAGE))).await;
    assert_eq!(late.code, Code::DeadlineExceeded);
    assert!(tokio::time::timeout(Duration::from_millis(20), unary(&channel)).await.is_err());
    let bad = send(&channel, request(&[("grpc-timeout", "soon")], http_body_util::Full::from(MESSAGE))).await;
    assert_eq!(bad.code, Code::InvalidArgument);
    const LATE: &str = "grpc.method=other grpc.status=DEADLINE_EXCEEDED";
    const DROPPED: &str = "grpc.method=other grpc.status=CANCELLED";
    const BAD: &str = "grpc.method=other grpc.status=INVALID_ARGUMENT";
    assert_eq!(
        counts(&channel, STARTED),
        map([("grpc.method=other", 2)]),
        "an invalid call is not attempted"
    );
    let of = |name| histograms(&channel, name).into_iter().map(|(labels, took)| (labels, took.count()));
    assert_eq!(of(ATTEMPTS).collect::<BTreeMap<_, _>>(), map([(LATE, 1), (DROPPED, 1)]));
    assert_eq!(of(CALLS).collect::<BTreeMap<_, _>>(), map([(LATE, 1), (DROPPED, 1), (BAD, 1)]));

    let broken = ScriptedServer::always(ScriptedResponse::Half).await;
    let channel = to(&broken).build().unwrap();
    assert_eq!(unary(&channel).await.code, Code::Internal);
    // The four bytes that arrived are less than the five of a prefix.
    assert_eq!(sums(&channel, RECEIVED), map([("grpc.method=other grpc.status=INTERNAL", (1, 0))]));

    let channel = Channel::builder(format!("ipv4:{}", unused_address())).call_metrics(true).build().unwrap();
    assert_eq!(unary(&channel).await.code, Code::Unavailable);
    assert_eq!(sums(&channel, SENT), map([(UNAVAILABLE, (1, 0))]), "an attempt without a connection");
    assert_eq!(counts(&channel, "grpc.subchannel.connection_attempts_succeeded"), map([("", 0)]));
    assert!(counts(&channel, "grpc.subchannel.connection_attempts_failed")[""] >= 1);
}

#[tokio::test]
async fn messages_of_a_stream_are_measured_to_its_end() {
    let server = ScriptedServer::start(|_| Step { read: 0, answer: ScriptedResponse::Echo }).await;
    let channel = to(&server).build().unwrap();
    let (pieces, receiver) = mpsc::unbounded_channel();
    let sending = tokio::spawn({
        let channel = channel.clone();
        async move { send(&channel, request(&[], upload(receiver))).await }
    });
    // One message in two pieces, and two in one.
    for piece in [&b"\0\0\0\0\x06abc"[..], b"def", b"\0\0\0\0\x01x\0\0\0\0\x02yz"] {
        pieces.send(Bytes::from_static(piece)).unwrap();
        tokio::task::yield_now().await;
    }
    drop(pieces);
    let got = tokio::time::timeout(TEST_TIMEOUT, sending).await.unwrap().unwrap();
    assert_eq!((got.code, got.body.len()), (Code::Ok, 9 + 15));
    assert_eq!(sums(&channel, SENT), map([(OK, (1, 9))]));
    assert_eq!(sums(&channel, RECEIVED), map([(OK, (1, 9))]));
}

#[tokio::test]
async fn connections_are_counted_and_each_loss_has_its_reason() {
    let mut backends = Backend::some(3);
    let (channel, updates) = manual_channel_with(|builder| builder).await;
    updates.publish(endpoints(&backends));
    ready(&channel, 3).await;
    let open = || counts(&channel, "grpc.subchannel.open_connections")[""];
    let succeeded = || counts(&channel, "grpc.subchannel.connection_attempts_succeeded")[""];
    let lost = || counts(&channel, "grpc.subchannel.disconnections");
    assert_eq!((open(), succeeded(), lost()), (3, 3, BTreeMap::new()));
    let of_grpc = |metric: &&Metric| metric.name.starts_with("grpc.") && metric.kind == Kind::UpDownCounter;
    assert_eq!(channel.metrics().iter().filter(of_grpc).count(), 1);

    backends[0].drain();
    let goaway = "grpc.disconnect_error=GOAWAY NO_ERROR";
    until("the GOAWAY counted", || lost().contains_key(goaway).then_some(())).await;
    let failed = || counts(&channel, "grpc.subchannel.connection_attempts_failed")[""];
    until("a failed attempt", || (failed() > 0).then_some(())).await;
    // The next connection may have been accepted before the listener closed, and may have got a GOAWAY too.
    let goaways = lost()[goaway];
    assert_eq!((lost(), open()), (map([(goaway, goaways)]), 2));
    assert_eq!(succeeded(), 2 + goaways);

    updates.publish(endpoints(&backends[1..2]));
    ready(&channel, 1).await;
    let shutdown = "grpc.disconnect_error=subchannel shutdown";
    until("the shutdown counted", || lost().contains_key(shutdown).then_some(())).await;
    assert_eq!(lost(), map([(goaway, goaways), (shutdown, 1)]));
    assert_eq!((open(), succeeded()), (1, 2 + goaways));

    backends.remove(1);
    until("the loss counted", || (open() == 0).then_some(())).await;
    let reasons = lost();
    assert_eq!((reasons.len(), reasons.values().sum::<u64>()), (3, 2 + goaways), "{reasons:?}");
    assert!(
        ["unknown", "connection reset", "socket error"]
            .iter()
            .any(|reason| reasons.contains_key(&format!("grpc.disconnect_error={reason}"))),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn enforced_and_unenforced_ejections_are_counted_by_method() {
    let backends = Backend::some(2);
    let outliers = OutlierDetection { max_ejection_percent: 50, ..OutlierDetection::default() };
    let (channel, updates) = manual_channel_with(|builder| builder.outlier_detection(outliers)).await;
    updates.publish(endpoints(&backends));
    ready(&channel, 2).await;
    backends.iter().for_each(|backend| backend.set_behavior(Behavior::Failing));
    let method = "grpc.lb.outlier_detection.detection_method=consecutive_failures";
    let overflow = format!("{method} grpc.lb.outlier_detection.unenforced_reason=max_ejection_overflow");
    until("one ejected, and one not", || {
        drop(tokio::spawn({
            let channel = channel.clone();
            async move { call(&channel, "").await }
        }));
        counts(&channel, "grpc.lb.outlier_detection.ejections_unenforced")
            .contains_key(&overflow)
            .then_some(())
    })
    .await;
    assert_eq!(counts(&channel, "grpc.lb.outlier_detection.ejections_enforced"), map([(method, 1)]),);
}

#[tokio::test]
async fn policy_metrics_exist_only_for_the_policy_of_the_channel() {
    let backend = Backend::start();
    let has = |channel: &Channel, prefix: &str| {
        channel.metrics().iter().filter(|metric| metric.name.starts_with(prefix)).count()
    };
    let plain = Channel::new(list([&backend])).unwrap();
    assert_eq!((has(&plain, "grpc.client."), has(&plain, "grpc.subchannel.")), (0, 4));
    assert_eq!((has(&plain, "grpc.lb.wrr."), has(&plain, "grpc.lb.pick_first.")), (0, 0));

    let first = Channel::builder(list([&backend])).policy(PickFirst::default()).build().unwrap();
    ready(&first, 1).await;
    assert_eq!(has(&first, "grpc.lb.pick_first."), 3);
    assert_eq!(counts(&first, "grpc.lb.pick_first.connection_attempts_succeeded"), map([("", 1)]));

    let weighted = Channel::builder(list([&backend])).policy(WeightedRoundRobin::default()).build().unwrap();
    ready(&weighted, 1).await;
    assert_eq!(has(&weighted, "grpc.lb.wrr."), 4);
    assert!(counts(&weighted, "grpc.lb.wrr.rr_fallback")[""] >= 1);
    assert!(counts(&weighted, "grpc.lb.wrr.endpoint_weight_not_yet_usable")[""] >= 1);
}
