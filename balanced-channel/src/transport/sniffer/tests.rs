//! Tests of the sniffer over an in-memory pipe. The test acts as the peer.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::{
    frame_reader::{
        GoAway,
        tests::{frame, goaway},
    },
    *,
};
use crate::transport::HeaderListLimit;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn pipe() -> (DuplexStream, SniffedIo<DuplexStream>, Arc<Shared>) {
    let (peer, io) = duplex(1 << 16);
    let shared = Arc::new(Shared::new(HeaderListLimit::default()));
    (peer, SniffedIo::new(io, shared.clone()), shared)
}

#[tokio::test]
async fn frame_of_the_peer_is_observed_once_complete() {
    let (mut peer, mut io, shared) = pipe();
    let mut buf = [0; 1024];
    let observed = &shared.observed;
    peer.write_all(&frame(frame_type::SETTINGS, 0, 0, b"")).await.unwrap();
    assert!(!observed.settings.load(Ordering::Relaxed));
    _ = io.read(&mut buf).await.unwrap();
    assert!(observed.settings.load(Ordering::Relaxed) && observed.goaway.get().is_none());
    assert_eq!((observed.reads.get(), observed.responses.get()), (1, 0));
    let bytes = [frame(frame_type::HEADERS, 0, 1, b"head"), frame(frame_type::DATA, 0, 1, b"data")].concat();
    peer.write_all(&bytes).await.unwrap();
    _ = io.read(&mut buf).await.unwrap();
    assert_eq!((observed.reads.get(), observed.responses.get()), (2, 2));
    for piece in goaway(0xb, b"too_many_pings").chunks(5) {
        assert_eq!(observed.goaway.get(), None);
        peer.write_all(piece).await.unwrap();
        _ = io.read(&mut buf).await.unwrap();
    }
    assert_eq!(observed.goaway.get(), Some(&GoAway { error: 0xb, too_many_pings: true }));
}

#[tokio::test]
async fn stream_is_open_once_part_of_its_headers_is_written() {
    let (_peer, mut io, shared) = pipe();
    let last_opened_stream = || shared.observed.last_opened_stream.load(Ordering::Relaxed);
    io.write_all(PREFACE).await.unwrap();
    io.write_all(&frame(frame_type::SETTINGS, 0, 0, b"")).await.unwrap();
    assert_eq!(last_opened_stream(), 0);
    io.write_all(&frame(frame_type::HEADERS, 0, 1, b"head")).await.unwrap();
    assert_eq!(last_opened_stream(), 1);
    let (data, headers) =
        (frame(frame_type::DATA, 0, 1, b"a message"), frame(frame_type::HEADERS, 0, 3, b"head"));
    let (remaining, kept) = headers.split_at(10);
    let bufs = [IoSlice::new(&data), IoSlice::new(remaining)];
    let written = std::future::poll_fn(|cx| Pin::new(&mut io).poll_write_vectored(cx, &bufs)).await.unwrap();
    assert!(written == data.len() || written == data.len() + remaining.len());
    io.write_all(&remaining[(written - data.len())..]).await.unwrap();
    assert_eq!(last_opened_stream(), 3);
    io.write_all(kept).await.unwrap();
    assert_eq!(last_opened_stream(), 3);
}

#[tokio::test]
async fn keepalive_timeout_fails_the_stream() {
    let (_peer, mut io, shared) = pipe();
    shared.observed.keepalive_timed_out.store(true, Ordering::Relaxed);
    let error = io.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(io.write(&[0; 1]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
}
