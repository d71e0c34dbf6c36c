//! Transparent retries (gRFC A6): a call that no server has processed is sent again, elsewhere, with
//! no policy to allow it; a call that may have been processed is not.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

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
async fn a_refused_stream_goes_elsewhere() {
    let refuses = ScriptedServer::always(ScriptedResponse::Reset(Reason::REFUSED_STREAM)).await;
    let works = ScriptedServer::always(ScriptedResponse::Message(Code::Ok)).await;
    let channel = to(&[refuses.address, works.address]).await;
    for _ in 0..10 {
        assert_eq!(unary(&channel).await.code, Code::Ok);
    }
    assert!((5..=10).contains(&refuses.requests().len()), "it had its turns");
    assert_eq!(works.requests().len(), 10);
    assert!(works.requests().iter().all(|seen| !seen.headers.contains_key("grpc-previous-rpc-attempts")));
}

#[tokio::test]
async fn refusals_come_to_an_end() {
    let refuses = ScriptedServer::always(ScriptedResponse::Reset(Reason::REFUSED_STREAM)).await;
    let channel = to(&[refuses.address]).await;
    let got = unary(&channel).await;
    assert_eq!(channel.snapshot().retries.transparent, 5);
    assert_eq!((got.code, refuses.requests().len()), (Code::Unavailable, 6), "{got:?}");
    assert!(got.message.contains(&refuses.address.to_string()), "{got:?}");
}

#[tokio::test]
async fn calls_above_the_last_stream_of_a_goaway_go_elsewhere_and_the_others_do_not() {
    let works = ScriptedServer::always(ScriptedResponse::Message(Code::Ok)).await;
    let mut leaves = RawHttp2Server::start(InitialSettings::default()).await;
    let channel = to(&[works.address, leaves.address]).await;
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move { unary(&channel).await })
        })
        .collect();
    // The second of its two streams was never processed. The first may have been.
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
async fn a_call_that_waited_for_a_free_stream_goes_elsewhere() {
    let works = ScriptedServer::always(ScriptedResponse::Message(Code::Ok)).await;
    for goaway in [true, false] {
        let mut narrow = RawHttp2Server::start(InitialSettings { max_streams: Some(1) }).await;
        let channel = to(&[works.address, narrow.address]).await;
        let before = works.requests().len();
        // Three for each: of the narrow one's, one is sent and two wait.
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

/// No attempt can be sent any more, and none may be repeated without end.
#[test]
fn channel_whose_runtime_has_ended_fails_calls() {
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
