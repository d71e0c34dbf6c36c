//! Streaming calls: replay on retries, and the effects of dropping a call.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod backend;
mod scripted_server;

use std::time::Duration;

use backend::until;
use balanced_channel::{Builder, Channel, RetryPolicy};
use bytes::Bytes;
use h2::Reason;
use http_body_util::{BodyExt, Full};
use scripted_server::{
    MESSAGE, ScriptedResponse, ScriptedServer, Step, TEST_TIMEOUT, request, send, unary, upload,
};
use tokio::sync::mpsc;
use tonic::Code;
use tower_service::Service;

fn to(server: &ScriptedServer) -> Builder {
    let policy = RetryPolicy { initial_backoff: Duration::from_millis(1), ..RetryPolicy::default() };
    Channel::builder(format!("ipv4:{}", server.address)).retry_policy(policy)
}

/// Starts a server that fails the first request after `read` bytes of its body, and responds to the second.
async fn fails_after(read: usize) -> ScriptedServer {
    ScriptedServer::start(move |number| match number {
        0 => Step { read, answer: ScriptedResponse::Status(Code::Unavailable) },
        _ => ScriptedResponse::Message(Code::Ok).into(),
    })
    .await
}

#[tokio::test]
async fn streaming_request_is_replayed_from_the_buffer_and_continues() {
    let server = fails_after(2 * MESSAGE.len()).await;
    let channel = to(&server).build().unwrap();
    let (pieces, body) = mpsc::unbounded_channel();
    let call = tokio::spawn(async move { send(&channel, request(&[], upload(body))).await });
    pieces.send(Bytes::from_static(MESSAGE)).unwrap();
    until("the first attempt", || (server.requests().len() == 1).then_some(())).await;
    pieces.send(Bytes::from_static(MESSAGE)).unwrap();
    until("the second attempt", || (server.requests().len() == 2).then_some(())).await;
    pieces.send(Bytes::from_static(MESSAGE)).unwrap();
    drop(pieces);
    assert_eq!(call.await.unwrap().code, Code::Ok);
    assert_eq!(server.requests()[0].body, MESSAGE.repeat(2));
    assert_eq!(server.requests()[1].body, MESSAGE.repeat(3));
}

#[tokio::test]
async fn streaming_request_larger_than_the_buffer_is_committed() {
    for (room, attempts, code) in
        [(3 * MESSAGE.len(), 2, Code::Ok), (3 * MESSAGE.len() - 1, 1, Code::Unavailable)]
    {
        let server = fails_after(3 * MESSAGE.len()).await;
        let channel = to(&server).retry_buffer(room).build().unwrap();
        let (pieces, body) = mpsc::unbounded_channel();
        for _ in 0..3 {
            pieces.send(Bytes::from_static(MESSAGE)).unwrap();
        }
        drop(pieces);
        let got = send(&channel, request(&[], upload(body))).await;
        assert_eq!((got.code, server.requests().len()), (code, attempts), "{room} bytes");
        assert!(server.requests().iter().all(|seen| seen.body == MESSAGE.repeat(3)));
    }
}

#[tokio::test]
async fn unary_request_of_any_size_is_retried() {
    let big = vec![7; 300_000];
    let server = fails_after(usize::MAX).await;
    let channel = to(&server).retry_buffer(0).build().unwrap();
    let got = send(&channel, request(&[], Full::from(big.clone()))).await;
    assert_eq!(got.code, Code::Ok);
    assert!(server.requests().len() == 2 && server.requests().iter().all(|seen| seen.body == big));
}

#[tokio::test]
async fn call_dropped_before_its_response_is_cancelled_at_the_server() {
    let server = ScriptedServer::start(|_| Step { read: 1, answer: ScriptedResponse::Silence }).await;
    let mut channel = to(&server).build().unwrap();
    let (pieces, body) = mpsc::unbounded_channel();
    pieces.send(Bytes::from_static(MESSAGE)).unwrap();
    for request in [request(&[], Full::from(MESSAGE)), request(&[], upload(body))] {
        let number = server.requests().len();
        let call = tokio::spawn(channel.call(request));
        until("the request", || server.requests().get(number).map(|_| ())).await;
        call.abort();
        let reset = until("a reset", || server.requests()[number].reset).await;
        assert_eq!(reset, Reason::CANCEL);
    }
    until("the end of the upload", || pieces.is_closed().then_some(())).await;
}

#[tokio::test]
async fn call_dropped_after_its_response_has_begun_is_cancelled_at_the_server() {
    let server = ScriptedServer::start(|_| Step { read: 1, answer: ScriptedResponse::Begin }).await;
    let mut channel = to(&server).build().unwrap();
    let (pieces, body) = mpsc::unbounded_channel();
    pieces.send(Bytes::from_static(MESSAGE)).unwrap();
    for request in [request(&[], Full::from(MESSAGE)), request(&[], upload(body))] {
        let number = server.requests().len();
        let response = tokio::time::timeout(TEST_TIMEOUT, channel.call(request)).await.unwrap().unwrap();
        drop(response);
        let reset = until("a reset", || server.requests()[number].reset).await;
        assert_eq!(reset, Reason::CANCEL);
    }
    until("the end of the upload", || pieces.is_closed().then_some(())).await;
    assert_eq!(channel.snapshot().subchannels[0].in_flight, 0);
}

#[tokio::test]
async fn call_dropped_between_attempts_is_not_retried() {
    let server = ScriptedServer::always(ScriptedResponse::Status(Code::Unavailable)).await;
    let policy = RetryPolicy { initial_backoff: Duration::from_millis(20), ..RetryPolicy::default() };
    let channel = Channel::builder(format!("ipv4:{}", server.address)).retry_policy(policy).build().unwrap();
    let call = tokio::spawn({
        let channel = channel.clone();
        async move { unary(&channel).await }
    });
    until("the end of the first attempt", || {
        channel.snapshot().subchannels.first().is_some_and(|s| s.failed == 1).then_some(())
    })
    .await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    // The attempts of another call take longer than a leftover attempt of the first call would.
    unary(&channel).await;
    assert_eq!(server.requests().len(), 1 + 4);
}

#[tokio::test]
async fn deadline_ends_a_response_that_has_begun() {
    let server = ScriptedServer::start(|_| Step { read: 1, answer: ScriptedResponse::Begin }).await;
    let mut channel = to(&server).build().unwrap();
    let request = request(&[("grpc-timeout", "50m")], Full::from(MESSAGE));
    let response = channel.call(request).await.unwrap();
    let read = tokio::time::timeout(TEST_TIMEOUT, response.into_body().collect()).await.unwrap();
    assert_eq!(read.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(until("a reset", || server.requests()[0].reset).await, Reason::CANCEL);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn deadline_ends_a_response_of_continuous_messages() {
    let server = ScriptedServer::always(ScriptedResponse::Messages(10_000, 0)).await;
    let channel = Channel::new(format!("ipv4:{}", server.address)).unwrap();
    let deadline = Duration::from_millis(200);
    let begun = tokio::time::Instant::now();
    let call = request(&[("grpc-timeout", "200m")], http_body_util::Full::from(MESSAGE));
    let end = tokio::time::timeout(TEST_TIMEOUT, async {
        let mut body = channel.clone().call(call).await.unwrap().into_body();
        loop {
            match body.frame().await.unwrap() {
                // Reads more slowly than the server sends, so that a piece is always available.
                Ok(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(status) => return status,
            }
        }
    });
    assert_eq!(end.await.unwrap().code(), Code::DeadlineExceeded);
    assert!(begun.elapsed() >= deadline);
}
