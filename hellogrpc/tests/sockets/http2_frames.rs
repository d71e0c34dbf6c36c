//! An HTTP/2 client that returns each frame (RFC 9113) as it arrives.

use std::net::SocketAddr;

use service::testing::bounded;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// One frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// One connection. It acknowledges settings by itself, and sends nothing else.
pub(crate) struct FrameStream {
    tcp: TcpStream,
    next_stream: u32,
}

// === impl Frame ===

impl Frame {
    /// The last stream and the error code of a GOAWAY.
    pub(crate) fn goaway(&self) -> (u32, u32) {
        assert_eq!(self.kind, GOAWAY, "{self:?}");
        let word = |at: usize| u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap());
        (word(0), word(4))
    }

    pub(crate) fn is_ack(&self) -> bool {
        self.flags & ACK != 0
    }
}

// === impl FrameStream ===

impl FrameStream {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let mut tcp = bounded(TcpStream::connect(addr)).await.unwrap();
        bounded(tcp.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")).await.unwrap();
        let mut frames = Self { tcp, next_stream: 1 };
        frames.send(SETTINGS, 0, 0, &[]).await;
        frames
    }

    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        bounded(self.tcp.write_all(&frame(kind, flags, stream, payload))).await.unwrap();
    }

    /// Returns the next frame, except SETTINGS and WINDOW_UPDATE; none when the server closed the connection.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            let mut head = [0; 9];
            if bounded(self.tcp.read_exact(&mut head)).await.is_err() {
                return None;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            bounded(self.tcp.read_exact(&mut payload)).await.unwrap();
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let frame = Frame { kind: head[3], flags: head[4], stream, payload };
            match frame.kind {
                SETTINGS if !frame.is_ack() => self.send(SETTINGS, ACK, 0, &[]).await,
                SETTINGS | 8 => {}
                _ => return Some(frame),
            }
        }
    }

    /// Sends a PING or its acknowledgement.
    pub(crate) async fn ping(&mut self, ack: bool, payload: [u8; 8]) {
        self.send(PING, if ack { ACK } else { 0 }, 0, &payload).await;
    }

    /// Starts a call with one message, and returns its stream.
    pub(crate) async fn start_call(&mut self, path: &str, message: &[u8]) -> u32 {
        self.start_call_within(path, "1H", message).await
    }

    /// Starts a call with a `grpc-timeout`, and returns its stream.
    pub(crate) async fn start_call_within(&mut self, path: &str, timeout: &str, message: &[u8]) -> u32 {
        let stream = self.stream();
        self.send(HEADERS, END_HEADERS, stream, &head(path, timeout)).await;
        self.send(DATA, END_STREAM, stream, message).await;
        stream
    }

    /// Starts a call whose request does not end.
    pub(crate) async fn start_upload(&mut self, path: &str, part: &[u8]) {
        let stream = self.stream();
        self.send(HEADERS, END_HEADERS, stream, &head(path, "1H")).await;
        self.send(DATA, 0, stream, part).await;
    }

    /// Starts a number of calls and resets all of their streams, in one write.
    pub(crate) async fn start_and_reset(&mut self, path: &str, calls: usize) {
        let streams: Vec<_> = (0..calls).map(|_| self.stream()).collect();
        let head = head(path, "1H");
        let heads = streams.iter().flat_map(|stream| frame(HEADERS, END_HEADERS, *stream, &head));
        let cancel = 8_u32.to_be_bytes();
        let resets = streams.iter().flat_map(|stream| frame(RST_STREAM, 0, *stream, &cancel));
        let frames: Vec<_> = heads.chain(resets).collect();
        bounded(self.tcp.write_all(&frames)).await.unwrap();
    }

    fn stream(&mut self) -> u32 {
        self.next_stream += 2;
        self.next_stream - 2
    }

    /// Makes a call, and returns the bytes of its body.
    pub(crate) async fn call(&mut self, path: &str, message: &[u8]) -> Vec<u8> {
        let stream = self.start_call(path, message).await;
        self.body(stream).await
    }

    /// Reads the rest of the answer on `stream`, and returns the bytes of its body.
    pub(crate) async fn body(&mut self, stream: u32) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let frame = self.next().await.unwrap();
            assert_eq!(frame.stream, stream, "{frame:?}");
            match frame.kind {
                HEADERS => {}
                DATA => body.extend(frame.payload),
                other => panic!("frame of kind {other} instead of an answer"),
            }
            if frame.flags & END_STREAM != 0 {
                return body;
            }
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The header block of a call, in HPACK (RFC 7541): :method POST and :scheme http are in the static table; the others
/// are literals.
fn head(path: &str, timeout: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    for (name, value) in [
        (":path", path),
        (":authority", "test"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", timeout),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}
