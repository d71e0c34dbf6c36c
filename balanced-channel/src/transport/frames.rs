//! Watches the frames that a peer sends, for the two that change what may be done with a connection.
//!
//! hyper says that a connection is ready before the peer has said a word, and notices a GOAWAY only
//! when the next call is refused. Both stand in the headers of the frames (RFC 9113, section 4.1):
//! nine bytes with a length and a type, so looking at them costs a few instructions a frame.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
};

const HEADER: usize = 9;
const TYPE_AT: usize = 3;
const SETTINGS: u8 = 0x4;
const GOAWAY: u8 = 0x7;

/// How far a connection has come, as its peer has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The peer has not spoken HTTP/2 yet.
    Opening,
    /// The peer has sent its SETTINGS.
    Open,
    /// The peer has sent GOAWAY: it takes no new calls on this connection.
    Draining,
}

/// A byte stream that reports the phase of the HTTP/2 connection on it.
#[derive(Debug)]
pub(crate) struct FrameWatch<I> {
    io: I,
    frames: Frames,
    phase: watch::Sender<Phase>,
}

/// Finds the frame headers in a stream that arrives in pieces of any size.
#[derive(Debug, Default)]
struct Frames {
    header: [u8; HEADER],
    /// How much of `header` has arrived.
    have: usize,
    /// How much of the current frame's payload is still to come.
    skip: usize,
}

// === impl Frames ===

impl Frames {
    /// Calls `seen` with the type of each frame whose header ends in `bytes`.
    fn feed(&mut self, mut bytes: &[u8], mut seen: impl FnMut(u8)) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let step = self.skip.min(bytes.len());
                self.skip -= step;
                bytes = &bytes[step..];
                continue;
            }
            let step = (HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + step].copy_from_slice(&bytes[..step]);
            self.have += step;
            bytes = &bytes[step..];
            if self.have == HEADER {
                let [high, middle, low, ..] = self.header;
                self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                self.have = 0;
                seen(self.header[TYPE_AT]);
            }
        }
    }
}

// === impl FrameWatch ===

impl<I> FrameWatch<I> {
    pub(crate) fn new(io: I) -> (Self, watch::Receiver<Phase>) {
        let (phase, receiver) = watch::channel(Phase::Opening);
        (Self { io, frames: Frames::default(), phase }, receiver)
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for FrameWatch<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let phase = &this.phase;
        this.frames.feed(&buf.filled()[before..], |kind| {
            let reached = match kind {
                SETTINGS => Phase::Open,
                GOAWAY => Phase::Draining,
                _ => return,
            };
            phase.send_if_modified(|phase| {
                let news = *phase == Phase::Opening || reached == Phase::Draining && *phase == Phase::Open;
                if news {
                    *phase = reached;
                }
                news
            });
        });
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for FrameWatch<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, 0, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn headers_are_found_however_the_bytes_arrive() {
        // The payload of the second frame is full of bytes that would read as GOAWAY headers.
        let stream =
            [frame(SETTINGS, &[]), frame(0, &[GOAWAY; 300]), frame(1, &[1]), frame(GOAWAY, &[0; 8])].concat();
        for size in 1..stream.len() {
            let (mut frames, mut seen) = (Frames::default(), Vec::new());
            for piece in stream.chunks(size) {
                frames.feed(piece, |kind| seen.push(kind));
            }
            assert_eq!(seen, [SETTINGS, 0, 1, GOAWAY], "in pieces of {size}");
        }
    }

    #[tokio::test]
    async fn phases_follow_the_peer() {
        let (mut peer, io) = tokio::io::duplex(1024);
        let (mut watched, phase) = FrameWatch::new(io);
        let mut buf = [0; 1024];
        assert_eq!(*phase.borrow(), Phase::Opening);
        for (kind, reached) in [
            (SETTINGS, Phase::Open),
            (0, Phase::Open),
            (GOAWAY, Phase::Draining),
            (SETTINGS, Phase::Draining),
        ] {
            peer.write_all(&frame(kind, b"payload")).await.unwrap();
            watched.read_exact(&mut buf[..HEADER + 7]).await.unwrap();
            assert_eq!(*phase.borrow(), reached);
        }
    }
}
