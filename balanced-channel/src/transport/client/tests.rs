//! Calls over a pipe whose other end the test holds.

use futures_util::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::{JoinHandle, yield_now},
};

use super::{
    super::{
        handshake,
        sniffer::frame_reader::{kind, tests::frame},
    },
    *,
};

/// A connection that is open, over a pipe that holds so many bytes.
async fn open(room: usize) -> (Sender, DuplexStream) {
    let (mut peer, end) = duplex(room);
    let (sender, driver, link) = handshake(end, None).await.unwrap();
    tokio::spawn(driver);
    peer.write_all(&frame(kind::SETTINGS, 0, 0, b"")).await.unwrap();
    let mut said = link.peer.subscribe();
    let mut buf = [0; 256];
    // The preface, and what belongs to it.
    while !said.borrow_and_update().open || peer.read(&mut buf).now_or_never().is_some() {
        yield_now().await;
    }
    (sender, peer)
}

fn call(sender: &Sender, data: Bytes) -> JoinHandle<Result<Response<Incoming>, SendError>> {
    let sender = sender.clone();
    let request = Request::post("http://peer/hello.Hello/SayHello").body(RequestBody::Whole(data)).unwrap();
    tokio::spawn(async move { sender.send(|| request).await })
}

#[tokio::test]
async fn what_was_not_written_never_left() {
    let (sender, peer) = open(512).await;
    let first = call(&sender, Bytes::from(vec![0; 4096]));
    while sender.link.passed.opened.load(Ordering::Relaxed) == 0 {
        yield_now().await;
    }
    let second = call(&sender, Bytes::from_static(b"more"));
    for _ in 0..10 {
        yield_now().await;
    }
    assert!(!first.is_finished() && !second.is_finished());
    drop(peer);
    assert!(matches!(first.await.unwrap(), Err(SendError::Broken(_))), "some of it was written");
    assert!(matches!(second.await.unwrap(), Err(SendError::NeverLeft(_))));
    while !sender.is_closed() {
        yield_now().await;
    }
    assert!(matches!(
        call(&sender, Bytes::new()).await.unwrap(),
        Err(SendError::Closed | SendError::NeverLeft(_))
    ));
}

#[tokio::test]
async fn what_http2_cannot_say_is_no_fault_of_the_connection() {
    let (sender, _peer) = open(4096).await;
    let request = Request::post("http://peer/hello.Hello/SayHello").header(http::header::TE, "gzip");
    let request = request.body(RequestBody::Whole(Bytes::new())).unwrap();
    let failed = sender.send(|| request).await;
    assert!(matches!(failed, Err(SendError::Unsendable(_))));
    assert!(!sender.is_closed());
}
