//! A server with a low MAX_CONCURRENT_STREAMS: calls above the limit wait in the client, until their deadline.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod backend;
mod raw_http2_server;
mod scripted_server;

use std::{collections::VecDeque, net::SocketAddr};

use backend::{ready, until};
use balanced_channel::Channel;
use bytes::Bytes;
use futures_util::future::join_all;
use h2::server::SendResponse;
use http::Response;
use http_body_util::{BodyExt, Full};
use raw_http2_server::{InitialSettings, RawHttp2Server};
use scripted_server::{MESSAGE, TEST_TIMEOUT, request, send, unary};
use tokio::{net::TcpListener, time::timeout};
use tonic::Code;
use tower_service::Service;

/// A long header value that identifies a call by the length of its headers.
const LONG: &str = concat!(
    "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz",
    "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz",
    "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz",
);

async fn to(address: SocketAddr) -> Channel {
    let channel = Channel::new(format!("ipv4:{address}")).unwrap();
    ready(&channel, 1).await;
    channel
}

/// Starts a server that allows `limit` concurrent streams and responds at once. The response headers have the number of
/// previous requests.
async fn narrow(limit: u32) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut builder = h2::server::Builder::new();
        let mut connection = builder.max_concurrent_streams(limit).handshake(stream).await.unwrap();
        let mut answering = VecDeque::new();
        let mut count = 0_u64;
        while let Some(Ok((_, respond))) = connection.accept().await {
            answering.push_back(tokio::spawn(answer(respond, count)));
            count += 1;
        }
    });
    address
}

async fn answer(mut respond: SendResponse<Bytes>, number: u64) {
    let head = Response::builder().header("number", number).body(()).unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    stream.send_data(Bytes::from_static(MESSAGE), false).unwrap();
    let status = (http::HeaderName::from_static("grpc-status"), http::HeaderValue::from_static("0"));
    drop(stream.send_trailers([status].into_iter().collect()));
}

#[tokio::test]
async fn calls_above_the_stream_limit_are_sent_in_order() {
    let channel = to(narrow(2).await).await;
    let numbers = join_all((0..200).map(|_| unary(&channel))).await.into_iter().map(|got| {
        assert_eq!(got.code, Code::Ok, "{got:?}");
        got.headers["number"].to_str().unwrap().parse::<u64>().unwrap()
    });
    assert!(numbers.eq(0..200));
}

#[tokio::test]
async fn unread_response_that_has_ended_occupies_no_stream() {
    let channel = to(narrow(2).await).await;
    let mut unread = Vec::new();
    for _ in 0..20 {
        let call = channel.clone().call(request(&[], Full::from(MESSAGE)));
        unread.push(timeout(TEST_TIMEOUT, call).await.unwrap().unwrap());
    }
    for response in unread {
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), MESSAGE);
    }
}

#[tokio::test]
async fn calls_cancelled_while_waiting_are_not_sent() {
    let mut peer = RawHttp2Server::start(InitialSettings { max_streams: Some(1) }).await;
    let channel = to(peer.address).await;
    let first = tokio::spawn({
        let channel = channel.clone();
        async move { unary(&channel).await }
    });
    peer.streams(1).await;
    let waiting = (0..50).map(|_| send(&channel, request(&[("grpc-timeout", "50m")], Full::from(MESSAGE))));
    for got in join_all(waiting).await {
        assert_eq!(got.code, Code::DeadlineExceeded, "{got:?}");
    }
    first.abort();
    // The reset of a stream frees it for the next call.
    let long = request(&[("x-long", LONG)], Full::from(MESSAGE));
    let next = tokio::spawn(async move { send(&channel, long).await });
    let opened = peer.stream_of(LONG.len() / 2).await;
    assert_eq!(opened, 3, "the first call, the one in h2's queue, and the next one");
    drop(peer);
    assert_eq!(next.await.unwrap().code, Code::Unavailable);
    until("the end of the first", || first.is_finished().then_some(())).await;
}
