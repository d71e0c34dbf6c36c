//! The wire over a pipe whose other end the test holds, in paused time.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::advance,
};

use super::{
    super::frames::tests::{frame, goaway},
    *,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn pipe() -> (DuplexStream, Wire<DuplexStream>, watch::Receiver<Peer>) {
    let (peer, io) = duplex(1 << 16);
    let (wire, receiver) = Wire::new(io, Some(Keepalive::default()));
    (peer, wire, receiver)
}

/// Lets the wire find that there is nothing to read, for so long.
async fn idle(wire: &mut Wire<DuplexStream>, time: Duration) -> io::Result<()> {
    let mut buf = [0; 1];
    match tokio::time::timeout(time, wire.read(&mut buf)).await {
        Ok(read) => panic!("{:?} was read", read?),
        Err(_) => Ok(()),
    }
}

/// Opens a call.
async fn call(wire: &mut Wire<DuplexStream>, peer: &mut DuplexStream) {
    let bytes = [PREFACE, &frame(kind::HEADERS, 0, 1, b"head")].concat();
    wire.write_all(&bytes).await.unwrap();
    wire.flush().await.unwrap();
    let mut seen = vec![0; bytes.len()];
    peer.read_exact(&mut seen).await.unwrap();
    assert_eq!(seen, bytes);
}

async fn pinged(peer: &mut DuplexStream) {
    let mut ping = [0; PING.len()];
    tokio::time::timeout(Duration::from_millis(1), peer.read_exact(&mut ping))
        .await
        .expect("a ping")
        .unwrap();
    assert_eq!(ping, PING);
}

fn pong() -> Vec<u8> {
    frame(kind::PING, 1, 0, &PING[HEADER..])
}

#[tokio::test]
async fn the_peer_is_open_after_settings_and_says_goaway_once_whole() {
    let (mut peer, mut wire, said) = pipe();
    let mut buf = [0; 1024];
    assert_eq!(*said.borrow(), Peer::default());
    peer.write_all(&frame(kind::SETTINGS, 0, 0, b"")).await.unwrap();
    _ = wire.read(&mut buf).await.unwrap();
    assert!(said.borrow().open && said.borrow().goaway.is_none());
    let bytes = goaway(0xb, b"too_many_pings");
    for piece in bytes.chunks(5) {
        assert_eq!(said.borrow().goaway, None);
        peer.write_all(piece).await.unwrap();
        _ = wire.read(&mut buf).await.unwrap();
    }
    assert_eq!(said.borrow().goaway, Some(GoAway { error: 0xb, too_many_pings: true }));
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_pinged_and_its_answer_is_kept_from_the_reader() {
    let settings = frame(kind::SETTINGS, 0, 0, b"abcdef");
    let their_ping = frame(kind::PING, 0, 0, b"theirown");
    for size in 1..40 {
        let (mut peer, mut wire, said) = pipe();
        call(&mut wire, &mut peer).await;
        idle(&mut wire, Duration::from_millis(1999)).await.unwrap();
        idle(&mut wire, Duration::from_millis(2)).await.unwrap();
        pinged(&mut peer).await;

        let bytes = [&settings[..], &their_ping, &pong(), &settings, &their_ping].concat();
        let mut passed = Vec::new();
        for piece in bytes.chunks(size) {
            peer.write_all(piece).await.unwrap();
        }
        drop(peer);
        while passed.len() < bytes.len() {
            let mut buf = vec![0; size];
            match wire.read(&mut buf).await.unwrap() {
                0 => break,
                read => passed.extend_from_slice(&buf[..read]),
            }
        }
        let unknown = frame(kind::UNKNOWN, 1, 0, &PING[HEADER..]);
        assert_eq!(passed, [&settings[..], &their_ping, &unknown, &settings, &their_ping].concat(), "{size}");
        assert!(!said.borrow().silent);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_within_a_header_is_passed_on_as_it_is() {
    let (mut peer, mut wire, _) = pipe();
    call(&mut wire, &mut peer).await;
    idle(&mut wire, Duration::from_millis(2001)).await.unwrap();
    peer.write_all(&pong()[..7]).await.unwrap();
    drop(peer);
    let mut rest = Vec::new();
    wire.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, pong()[..7]);
}

#[tokio::test(start_paused = true)]
async fn a_ping_waits_for_the_end_of_a_frame() {
    let (mut peer, mut wire, _) = pipe();
    call(&mut wire, &mut peer).await;
    let data = frame(kind::DATA, 0, 1, b"a message");
    wire.write_all(&data[..12]).await.unwrap();
    idle(&mut wire, Duration::from_millis(2001)).await.unwrap();
    wire.write_all(&data[12..]).await.unwrap();
    wire.write_all(&data).await.unwrap();
    let mut seen = vec![0; data.len()];
    peer.read_exact(&mut seen).await.unwrap();
    assert_eq!(seen, data);
    pinged(&mut peer).await;
    peer.read_exact(&mut seen).await.unwrap();
    assert_eq!(seen, data);
}

#[tokio::test(start_paused = true)]
async fn silence_is_reported_and_given_up() {
    let (mut peer, mut wire, said) = pipe();
    call(&mut wire, &mut peer).await;
    idle(&mut wire, Duration::from_millis(3999)).await.unwrap();
    assert!(!said.borrow().silent);
    idle(&mut wire, Duration::from_millis(2)).await.unwrap();
    assert!(said.borrow().silent);

    peer.write_all(&frame(kind::SETTINGS, 0, 0, b"")).await.unwrap();
    wire.read_exact(&mut [0; HEADER]).await.unwrap();
    assert!(!said.borrow().silent, "any byte shows that it lives");

    advance(Duration::from_millis(1)).await;
    idle(&mut wire, Duration::from_secs(3)).await.unwrap();
    assert!(said.borrow().silent);
    let error = wire.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}
