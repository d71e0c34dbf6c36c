//! The byte stream under a connection, and what passes over it.
//!
//! h2 does not say when the peer has sent its SETTINGS, nor that it has said GOAWAY, nor whether a call
//! has left. The frames show it as they pass.

pub(super) mod frame_reader;

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use frame_reader::{Found, Frames, kind};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::shared::Link;

/// A byte stream that takes note of its frames.
#[derive(Debug)]
pub(crate) struct Wire<I> {
    io: I,
    read: Frames,
    written: Frames,
    link: Arc<Link>,
}

// === impl Wire ===

impl<I> Wire<I> {
    pub(crate) fn new(io: I, link: Arc<Link>) -> Self {
        Self { io, read: Frames::default(), written: Frames::after_preface(), link }
    }

    /// Takes note of bytes that were read.
    fn note_read(&mut self, bytes: &[u8]) {
        let passed = &self.link.passed;
        if !bytes.is_empty() {
            passed.reads.add();
        }
        self.read.feed(bytes, |found| match found {
            Found::Header(header) => match header.kind {
                kind::HEADERS | kind::DATA => passed.answers.add(),
                kind::SETTINGS => passed.settings.store(true, Ordering::Relaxed),
                _ => {}
            },
            // The first is how it began; a second one may only lower the last stream.
            Found::GoAway(goaway) => _ = passed.goaway.set(goaway),
        });
    }

    /// Takes note of bytes that were written.
    fn note_written(&mut self, bytes: &[u8]) {
        let passed = &self.link.passed;
        self.written.feed(bytes, |found| {
            if let Found::Header(header) = found
                && header.kind == kind::HEADERS
            {
                passed.opened.store(header.stream, Ordering::Relaxed);
            }
        });
    }

    /// An error, if the peer is given up.
    fn check(&self) -> io::Result<()> {
        if self.link.passed.given_up.load(Ordering::Relaxed) {
            let why = "the peer does not answer a keepalive ping";
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        Ok(())
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Wire<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let Poll::Ready(read) = Pin::new(&mut this.io).poll_read(cx, buf) else {
            // Only when there is nothing to read.
            this.check()?;
            return Poll::Pending;
        };
        this.note_read(&buf.filled()[before..]);
        Poll::Ready(read)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Wire<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check()?;
        let written = ready!(Pin::new(&mut this.io).poll_write(cx, buf))?;
        this.note_written(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check()?;
        let written = ready!(Pin::new(&mut this.io).poll_write_vectored(cx, bufs))?;
        let mut left = written;
        for buf in bufs {
            let step = left.min(buf.len());
            this.note_written(&buf[..step]);
            left -= step;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
