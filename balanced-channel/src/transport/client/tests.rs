//! Tests of calls over an in-memory pipe. The test acts as the peer.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::{JoinHandle, yield_now},
    time::{advance, sleep},
};

use super::{
    super::{
        HeaderListLimit, Keepalive, handshake,
        sniffer::frame_reader::{frame_type, tests::frame},
    },
    *,
};

/// Returns an open connection over a pipe that holds `capacity` bytes.
async fn open(capacity: usize) -> (Http2Client, DuplexStream) {
    open_with(capacity, None).await
}

async fn open_with(capacity: usize, keepalive: Option<Keepalive>) -> (Http2Client, DuplexStream) {
    let (mut peer, end) = duplex(capacity);
    let (client, driver, shared) = handshake(end, keepalive, HeaderListLimit::default()).await.unwrap();
    tokio::spawn(driver);
    peer.write_all(&frame(frame_type::SETTINGS, 0, 0, b"")).await.unwrap();
    let mut state = shared.peer.subscribe();
    let mut buf = [0; 256];
    // Reads the connection preface and the frames that follow it.
    while !state.borrow_and_update().open || peer.read(&mut buf).now_or_never().is_some() {
        yield_now().await;
    }
    (client, peer)
}

fn call(client: &Http2Client, data: Bytes) -> JoinHandle<Result<Response<IncomingBody>, SendError>> {
    let client = client.clone();
    let request = Request::post("http://peer/hello.Hello/SayHello").body(AttemptBody::Whole(data)).unwrap();
    tokio::spawn(async move { client.send(|| request, || {}).await })
}

#[tokio::test]
async fn call_without_a_written_frame_was_not_sent() {
    let (client, peer) = open(512).await;
    let first = call(&client, Bytes::from(vec![0; 4096]));
    while client.shared.observed.last_opened_stream.load(Ordering::Relaxed) == 0 {
        yield_now().await;
    }
    let second = call(&client, Bytes::from_static(b"more"));
    for _ in 0..10 {
        yield_now().await;
    }
    assert!(!first.is_finished() && !second.is_finished());
    drop(peer);
    assert!(matches!(first.await.unwrap(), Err(SendError::Failed(_))), "some of it was written");
    assert!(matches!(second.await.unwrap(), Err(SendError::NotSent(_))));
    while !client.is_closed() {
        yield_now().await;
    }
    assert!(matches!(
        call(&client, Bytes::new()).await.unwrap(),
        Err(SendError::Closed | SendError::NotSent(_))
    ));
}

#[tokio::test]
async fn request_that_http2_cannot_represent_leaves_the_connection_open() {
    let (client, _peer) = open(4096).await;
    let request = Request::post("http://peer/hello.Hello/SayHello").header(http::header::TE, "gzip");
    let request = request.body(AttemptBody::Whole(Bytes::new())).unwrap();
    let failed = client.send(|| request, || {}).await;
    assert!(matches!(failed, Err(SendError::InvalidRequest(_))));
    assert!(!client.is_closed());
}

#[tokio::test(start_paused = true)]
async fn stall_of_this_process_does_not_mark_the_peer_silent() {
    let probe = Duration::from_millis(200);
    let timeout = Duration::from_millis(250);
    let keepalive = Keepalive { probe_time: Some(probe), timeout, ..Keepalive::default() };
    let (client, _peer) = open_with(4096, Some(keepalive)).await;
    let silent = || client.shared.peer.borrow().silent;
    let _call = call(&client, Bytes::new());
    sleep(probe + Duration::from_millis(2)).await;
    assert!(client.shared.observed.last_opened_stream.load(Ordering::Relaxed) > 0);
    // No task runs for a minute, during which the answer to the PING is due.
    advance(Duration::from_secs(60)).await;
    sleep(timeout - Duration::from_millis(10)).await;
    assert!(!silent() && !client.is_closed(), "the wait for the answer starts again");
    sleep(Duration::from_millis(20)).await;
    assert!(silent(), "the peer did not answer in time");
}
