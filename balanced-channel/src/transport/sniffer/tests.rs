//! The wire over a pipe whose other end the test holds.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::{
    frame_reader::{
        GoAway,
        tests::{frame, goaway},
    },
    *,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn pipe() -> (DuplexStream, Wire<DuplexStream>, Arc<Link>) {
    let (peer, io) = duplex(1 << 16);
    let link = Arc::new(Link::new());
    (peer, Wire::new(io, link.clone()), link)
}

#[tokio::test]
async fn what_the_peer_says_is_noted_once_it_is_whole() {
    let (mut peer, mut wire, link) = pipe();
    let mut buf = [0; 1024];
    let passed = &link.passed;
    peer.write_all(&frame(kind::SETTINGS, 0, 0, b"")).await.unwrap();
    assert!(!passed.settings.load(Ordering::Relaxed));
    _ = wire.read(&mut buf).await.unwrap();
    assert!(passed.settings.load(Ordering::Relaxed) && passed.goaway.get().is_none());
    assert_eq!((passed.reads.get(), passed.answers.get()), (1, 0));
    let bytes = [frame(kind::HEADERS, 0, 1, b"head"), frame(kind::DATA, 0, 1, b"data")].concat();
    peer.write_all(&bytes).await.unwrap();
    _ = wire.read(&mut buf).await.unwrap();
    assert_eq!((passed.reads.get(), passed.answers.get()), (2, 2));
    for piece in goaway(0xb, b"too_many_pings").chunks(5) {
        assert_eq!(passed.goaway.get(), None);
        peer.write_all(piece).await.unwrap();
        _ = wire.read(&mut buf).await.unwrap();
    }
    assert_eq!(passed.goaway.get(), Some(&GoAway { error: 0xb, too_many_pings: true }));
}

#[tokio::test]
async fn a_call_has_left_once_its_headers_began_to() {
    let (_peer, mut wire, link) = pipe();
    let opened = || link.passed.opened.load(Ordering::Relaxed);
    wire.write_all(PREFACE).await.unwrap();
    wire.write_all(&frame(kind::SETTINGS, 0, 0, b"")).await.unwrap();
    assert_eq!(opened(), 0);
    wire.write_all(&frame(kind::HEADERS, 0, 1, b"head")).await.unwrap();
    assert_eq!(opened(), 1);
    let (data, headers) = (frame(kind::DATA, 0, 1, b"a message"), frame(kind::HEADERS, 0, 3, b"head"));
    let (left, kept) = headers.split_at(10);
    let bufs = [IoSlice::new(&data), IoSlice::new(left)];
    let written =
        std::future::poll_fn(|cx| Pin::new(&mut wire).poll_write_vectored(cx, &bufs)).await.unwrap();
    assert!(written == data.len() || written == data.len() + left.len());
    wire.write_all(&left[(written - data.len())..]).await.unwrap();
    assert_eq!(opened(), 3);
    wire.write_all(kept).await.unwrap();
    assert_eq!(opened(), 3);
}

#[tokio::test]
async fn a_peer_that_is_given_up_fails_the_stream() {
    let (_peer, mut wire, link) = pipe();
    link.passed.given_up.store(true, Ordering::Relaxed);
    let error = wire.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(wire.write(&[0; 1]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
}
