//! Transparent retries (gRFC A6): without a retry policy, a call that no server has processed is retried on another
//! endpoint, and a call that may have been processed is not.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod backend;
mod raw_http2_server;
mod scripted_server;

use backend::{Backend, fails, list, ready, until};
use balanced_channel::{Channel, Connectivity};
use h2::Reason;
use raw_http2_server::{InitialSettings, RawHttp2Server};
use scripted_server::{ScriptedResponse, ScriptedServer, unary};
use tonic::Code;

async fn to(addresses: &[std::net::SocketAddr]) -> Channel {
    let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let channel = Channel::new(format!("ipv4:{}", list.join(","))).unwrap();
    ready(&channel, addresses.len()).await;
    channel
}

#[tokio::test]
async fn refused_stream_is_retried_on_another_endpoint() {
    let refuses = ScriptedServer::always(ScriptedResponse::Reset(Reason::REFUSED_STREAM)).await;
    let works = ScriptedServer::always(ScriptedResponse::Message(Code::Ok)).await;
    let channel = to(&[refuses.address, works.address]).await;
    for _ in 0..10 {
        assert_eq!(unary(&channel).await.code, Code::Ok);
    }
    assert!((5..=10).contains(&refuses.requests().len()), "the refusing server got its share of attempts");
    assert_eq!(works.requests().len(), 10);
    assert!(works.requests().iter().all(|seen| !seen.headers.contains_key("grpc-previous-rpc-attempts")));
}

#[tokio::test]
async fn retries_of_refused_streams_are_limited() {
    let refuses = ScriptedServer::always(ScriptedResponse::Reset(Reason::REFUSED_STREAM)).await;
    let channel = to(&[refuses.address]).await;
    let got = unary(&channel).await;
    assert_eq!(channel.snapshot().retries.transparent, 5);
    assert_eq!((got.code, refuses.requests().len()), (Code::Unavailable, 6), "{got:?}");
    assert!(got.message.contains(&refuses.address.to_string()), "{got:?}");
}

#[tokio::test]
async fn only_calls_after_the_last_stream_of_a_goaway_are_retried() {
    let works = ScriptedServer::always(ScriptedResponse::Message(Code::Ok)).await;
    let mut leaves = RawHttp2Server::start(InitialSettings::default()).await;
    let channel = to(&[works.address, leaves.address]).await;
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move { unary(&channel).await })
        })
        .collect();
    // The second of the two streams was not processed; the first may have been.
    leaves.streams(2).await;
    leaves.goaway(1).await;
    leaves.close();
    let mut failed = 0;
    for call in calls {
        let got = call.await.unwrap();
        failed += usize::from(got.code == Code::Unavailable);
        assert!([Code::Ok, Code::Unavailable].contains(&got.code), "{got:?}");
    }
    assert_eq!((failed, works.requests().len()), (1, 3));
}

#[tokio::test]
async fn call_waiting_for_a_stream_is_retried_when_the_connection_is_lost() {
    let works = ScriptedServer::always(ScriptedResponse::Message(Code::Ok)).await;
    for goaway in [true, false] {
        let mut narrow = RawHttp2Server::start(InitialSettings { max_streams: Some(1) }).await;
        let channel = to(&[works.address, narrow.address]).await;
        let before = works.requests().len();
        // Each server gets three calls. At the limited one, one call is sent and two wait.
        let calls: Vec<_> = (0..6)
            .map(|_| {
                let channel = channel.clone();
                tokio::spawn(async move { unary(&channel).await.code })
            })
            .collect();
        narrow.streams(1).await;
        until("six calls", || {
            (channel.snapshot().subchannels.iter().map(|s| s.started).sum::<u64>() == 6).then_some(())
        })
        .await;
        if goaway {
            narrow.goaway(1).await;
        }
        narrow.close();
        let mut codes = Vec::new();
        for call in calls {
            codes.push(call.await.unwrap());
        }
        let failed = codes.iter().filter(|code| **code != Code::Ok).count();
        assert_eq!((failed, works.requests().len() - before), (1, 5), "goaway: {goaway}, {codes:?}");
    }
}

/// No attempt can be sent any more, and the call must not be retried without end.
#[test]
fn channel_of_a_stopped_runtime_fails_calls() {
    let backend = Backend::start();
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for wait_for_ready in [false, true] {
        let first = runtime();
        let channel = first.block_on(async {
            let builder = Channel::builder(list([&backend])).wait_for_ready(wait_for_ready);
            let channel = builder.build().unwrap();
            ready(&channel, 1).await;
            channel
        });
        drop(first);
        let (code, message) = runtime().block_on(fails(&channel, "0"));
        assert_eq!((code, channel.state()), (Code::Unavailable, Connectivity::Shutdown));
        assert!(message.contains("the channel is closed"), "{message}");
    }
}
