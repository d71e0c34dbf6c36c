//! The byte stream under a connection. It observes the HTTP/2 frames that are read and written.
//!
//! h2 reports neither that the peer has sent SETTINGS or GOAWAY, nor whether the headers of a call were written. The
//! frames on the stream show this.

pub(super) mod frame_reader;

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use frame_reader::{FrameEvent, FrameHeader, FrameReader, frame_type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::shared::Shared;

/// A byte stream that observes its frames.
#[derive(Debug)]
pub(crate) struct SniffedIo<I> {
    io: I,
    read_frames: FrameReader,
    written_frames: FrameReader,
    /// The length of the last header block, as far as it was read: HEADERS, and the CONTINUATIONs that follow.
    block: usize,
    shared: Arc<Shared>,
}

// === impl SniffedIo ===

impl<I> SniffedIo<I> {
    pub(crate) fn new(io: I, shared: Arc<Shared>) -> Self {
        Self {
            io,
            read_frames: FrameReader::default(),
            written_frames: FrameReader::after_preface(),
            block: 0,
            shared,
        }
    }

    /// Observes bytes that were read.
    fn sniff_read(&mut self, bytes: &[u8]) {
        let observed = &self.shared.observed;
        if !bytes.is_empty() {
            observed.reads.add();
        }
        let (block, long_block) = (&mut self.block, self.shared.header_list_limit.long_block());
        let mut add_to_block = |header: FrameHeader| {
            *block = match header.frame_type {
                frame_type::CONTINUATION => *block + header.length,
                _ => header.length,
            };
            if *block > long_block {
                observed.record_long_block(header.stream, *block);
            }
        };
        self.read_frames.read(bytes, |event| match event {
            FrameEvent::Header(header) => match header.frame_type {
                frame_type::HEADERS => {
                    observed.responses.add();
                    add_to_block(header);
                }
                frame_type::CONTINUATION => add_to_block(header),
                frame_type::DATA => observed.responses.add(),
                frame_type::SETTINGS => observed.settings.store(true, Ordering::Relaxed),
                _ => {}
            },
            // The first GOAWAY has the reason; a second one may only lower the last stream.
            FrameEvent::GoAway(goaway) => _ = observed.goaway.set(goaway),
        });
    }

    /// Observes bytes that were written.
    fn sniff_written(&mut self, bytes: &[u8]) {
        let observed = &self.shared.observed;
        self.written_frames.read(bytes, |event| {
            if let FrameEvent::Header(header) = event
                && header.frame_type == frame_type::HEADERS
            {
                observed.last_opened_stream.store(header.stream, Ordering::Relaxed);
            }
        });
    }

    /// Returns an error if the keepalive has timed out.
    fn check_keepalive(&self) -> io::Result<()> {
        if self.shared.observed.keepalive_timed_out.load(Ordering::Relaxed) {
            let why = "the peer does not answer a keepalive ping";
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        Ok(())
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for SniffedIo<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let Poll::Ready(read) = Pin::new(&mut this.io).poll_read(cx, buf) else {
            // Checked only if there is nothing to read: any byte shows that the peer is alive.
            this.check_keepalive()?;
            return Poll::Pending;
        };
        this.sniff_read(&buf.filled()[before..]);
        Poll::Ready(read)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for SniffedIo<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check_keepalive()?;
        let written = ready!(Pin::new(&mut this.io).poll_write(cx, buf))?;
        this.sniff_written(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check_keepalive()?;
        let written = ready!(Pin::new(&mut this.io).poll_write_vectored(cx, bufs))?;
        let mut remaining = written;
        for buf in bufs {
            let step = remaining.min(buf.len());
            this.sniff_written(&buf[..step]);
            remaining -= step;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_keepalive()?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_keepalive()?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
