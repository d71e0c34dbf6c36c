//! Streaming calls: each is balanced, and continues when its endpoint is removed from the set.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod backend;
mod scripted_server;

use backend::{manual_channel, ready};
use balanced_channel::{Channel, Endpoint, ResponseBody};
use bytes::Bytes;
use futures_util::future::join_all;
use http::Response;
use http_body_util::{BodyExt, Full};
use scripted_server::{
    MESSAGE, ScriptedResponse, ScriptedServer, Step, TEST_TIMEOUT, request, unary, upload,
};
use tokio::{sync::mpsc, time::timeout};
use tonic::Code;
use tower_service::Service;

/// The number of streams of each kind, a multiple of the number of servers.
const STREAMS: usize = 600;
const SERVERS: usize = 3;
const MESSAGES: usize = 20;

async fn servers(count: usize) -> (Vec<ScriptedServer>, Vec<Endpoint>) {
    // The first calls of each server exchange messages in both directions; the others get a stream of responses.
    let step = |number: usize| match number < STREAMS / SERVERS {
        true => Step { read: 0, answer: ScriptedResponse::Echo },
        false => Step::from(ScriptedResponse::Messages(MESSAGES, 10)),
    };
    let servers = join_all((0..count).map(|_| ScriptedServer::start(step))).await;
    let endpoints = servers.iter().map(|server| server.address.into()).collect();
    (servers, endpoints)
}

/// Reads one piece of a response.
async fn piece(response: &mut Response<ResponseBody>) -> Bytes {
    let frame = timeout(TEST_TIMEOUT, response.body_mut().frame()).await.unwrap().unwrap().unwrap();
    frame.into_data().unwrap()
}

/// Reads the rest of a response, and its status.
async fn rest(response: Response<ResponseBody>) -> (Vec<u8>, Code) {
    let rest = timeout(TEST_TIMEOUT, response.into_body().collect()).await.unwrap().unwrap();
    let code = rest.trailers().and_then(|trailers| trailers.get("grpc-status")).cloned();
    (rest.to_bytes().to_vec(), Code::from_bytes(code.unwrap().as_bytes()))
}

async fn open(channel: &Channel) -> (mpsc::UnboundedSender<Bytes>, Response<ResponseBody>) {
    let (pieces, body) = mpsc::unbounded_channel();
    pieces.send(Bytes::from_static(MESSAGE)).unwrap();
    let mut response =
        timeout(TEST_TIMEOUT, channel.clone().call(request(&[], upload(body)))).await.unwrap().unwrap();
    assert_eq!(piece(&mut response).await, MESSAGE);
    (pieces, response)
}

#[tokio::test]
async fn streams_are_balanced_and_survive_the_removal_of_their_endpoints() {
    let (old, endpoints) = servers(SERVERS).await;
    let (channel, updates) = manual_channel().await;
    updates.publish(endpoints);
    ready(&channel, SERVERS).await;
    let talks = join_all((0..STREAMS).map(|_| open(&channel))).await;
    let mut lists = join_all((0..STREAMS).map(|_| {
        let call = channel.clone().call(request(&[], Full::from(MESSAGE)));
        async { timeout(TEST_TIMEOUT, call).await.unwrap().unwrap() }
    }))
    .await;
    assert!(
        old.iter().all(|server| server.requests().len() == 2 * STREAMS / SERVERS),
        "every server gets its share"
    );

    let new = ScriptedServer::always(ScriptedResponse::Message(Code::Ok)).await;
    updates.publish([new.address.into()]);
    ready(&channel, 1).await;
    assert_eq!((unary(&channel).await.code, new.requests().len()), (Code::Ok, 1));
    for (pieces, mut response) in talks {
        pieces.send(Bytes::from_static(b"still there?")).unwrap();
        assert_eq!(piece(&mut response).await, &b"still there?"[..]);
        drop(pieces);
        assert_eq!(rest(response).await, (Vec::new(), Code::Ok));
    }
    for list in lists.drain(..) {
        assert_eq!(rest(list).await, (MESSAGE.repeat(MESSAGES), Code::Ok));
    }
    assert_eq!(
        old.iter().map(|server| server.requests().len()).sum::<usize>(),
        2 * STREAMS,
        "no call was retried"
    );
}

#[tokio::test]
async fn unread_response_blocks_no_other_call() {
    const UNREAD: usize = 20_000;
    let server = ScriptedServer::start(|number| match number {
        0 => ScriptedResponse::Messages(UNREAD, 0),
        _ => ScriptedResponse::Message(Code::Ok),
    })
    .await;
    let channel = Channel::new(format!("ipv4:{}", server.address)).unwrap();
    let call = channel.clone().call(request(&[], Full::from(MESSAGE)));
    let unread = timeout(TEST_TIMEOUT, call).await.unwrap().unwrap();
    for _ in 0..100 {
        assert_eq!(unary(&channel).await.code, Code::Ok);
    }
    let (body, code) = rest(unread).await;
    assert_eq!((body.len(), code), (UNREAD * MESSAGE.len(), Code::Ok));
}
