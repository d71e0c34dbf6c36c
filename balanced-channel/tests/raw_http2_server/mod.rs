//! A peer that sends single HTTP/2 frames, for behaviour that server libraries do not allow. It accepts one connection,
//! responds to no request, and counts the opened streams.
#![allow(dead_code, unreachable_pub, reason = "each test file uses the part it needs")]

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{oneshot, watch},
    task::JoinHandle,
};

const PREFACE: usize = 24;
const HEADERS: u8 = 0x1;
const SETTINGS: u8 = 0x4;
const GOAWAY: u8 = 0x7;
const ACK: u8 = 0x1;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;

/// The SETTINGS that the peer sends first.
#[derive(Clone, Copy, Debug, Default)]
pub struct InitialSettings {
    pub max_streams: Option<u32>,
}

/// The peer. Dropping it closes its connection.
pub struct RawHttp2Server {
    pub address: SocketAddr,
    writer: Option<oneshot::Receiver<OwnedWriteHalf>>,
    open: Option<OwnedWriteHalf>,
    /// The length of the headers of each opened stream, in bytes.
    streams: watch::Receiver<Vec<usize>>,
    reading: JoinHandle<()>,
}

impl RawHttp2Server {
    pub async fn start(start: InitialSettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (count, streams) = watch::channel(Vec::new());
        let (give, writer) = oneshot::channel();
        let reading = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            drop(listener);
            let (reader, writer) = greet(stream, start).await;
            drop(give.send(writer));
            read(reader, &count).await;
        });
        Self { address, writer: Some(writer), open: None, streams, reading }
    }

    /// Waits until `count` streams were opened.
    pub async fn streams(&mut self, count: usize) {
        let opened = self.streams.wait_for(|opened| opened.len() >= count);
        drop(
            tokio::time::timeout(Duration::from_secs(20), opened).await.expect("streams must come").unwrap(),
        );
    }

    /// Waits for a stream whose headers have at least `bytes` bytes. Returns the number of streams opened until then.
    pub async fn stream_of(&mut self, bytes: usize) -> usize {
        let long = |opened: &Vec<usize>| opened.iter().any(|length| *length >= bytes);
        let opened = tokio::time::timeout(Duration::from_secs(20), self.streams.wait_for(long)).await;
        opened.expect("the stream must come").unwrap().len()
    }

    /// Sends GOAWAY: no stream after `last` was or will be processed.
    pub async fn goaway(&mut self, last: u32) {
        let payload = [last.to_be_bytes(), 0_u32.to_be_bytes()].concat();
        if let Some(writer) = self.writer.take() {
            self.open = Some(writer.await.unwrap());
        }
        let writer = self.open.as_mut().unwrap();
        writer.write_all(&frame(GOAWAY, 0, &payload)).await.unwrap();
    }

    /// Closes the connection.
    pub fn close(self) {}
}

impl Drop for RawHttp2Server {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn greet(mut stream: TcpStream, start: InitialSettings) -> (OwnedReadHalf, OwnedWriteHalf) {
    stream.read_exact(&mut [0; PREFACE]).await.unwrap();
    let mut settings = Vec::new();
    if let Some(max) = start.max_streams {
        settings.extend_from_slice(&MAX_CONCURRENT_STREAMS.to_be_bytes());
        settings.extend_from_slice(&max.to_be_bytes());
    }
    stream.write_all(&frame(SETTINGS, 0, &settings)).await.unwrap();
    stream.write_all(&frame(SETTINGS, ACK, &[])).await.unwrap();
    stream.into_split()
}

async fn read(mut reader: OwnedReadHalf, streams: &watch::Sender<Vec<usize>>) {
    let mut header = [0; 9];
    while reader.read_exact(&mut header).await.is_ok() {
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut payload = vec![0; length as usize];
        reader.read_exact(&mut payload).await.unwrap();
        if header[3] == HEADERS {
            streams.send_modify(|opened| opened.push(payload.len()));
        }
    }
}

/// Returns a frame on stream 0.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}
