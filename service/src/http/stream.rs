//! A TCP stream that reports its progress, limits each read, and replaces hyper's responses to malformed requests.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{malformed, progress::Progress};

/// The number of bytes that a connection may read before other tasks run. Without a limit, one poll reads up to 1 MiB,
/// which may be 60 000 frames, while every other client waits.
const READ_BUDGET: usize = 2 * 1024;

/// A TCP stream that reports its reads and blocked writes to a [`Progress`]: hyper has no timeout for writes, and none for
/// the first bytes of an HTTP/2 connection.
pub(super) struct ObservedStream {
    inner: TcpStream,
    progress: Arc<Progress>,
    /// The number of bytes read since the last yield, or since nothing was left to read.
    read: usize,
    /// The unwritten rest of a response that replaces one of hyper's.
    replacement: Option<Bytes>,
}

// === impl ObservedStream ===

impl ObservedStream {
    pub(super) fn new(inner: TcpStream, progress: Arc<Progress>) -> Self {
        Self { inner, progress, read: 0, replacement: None }
    }

    /// Writes a response that replaces `written`, if there is one, and reports `written` as done.
    fn poll_replacement(&mut self, cx: &mut Context<'_>, written: &[u8]) -> Option<Poll<io::Result<usize>>> {
        let mut rest = match self.replacement.take() {
            Some(rest) => rest,
            None => malformed::with_problem(written)?,
        };
        while !rest.is_empty() {
            match Pin::new(&mut self.inner).poll_write(cx, &rest) {
                Poll::Ready(Ok(length)) => drop(rest.split_to(length)),
                Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error))),
                Poll::Pending => {
                    self.replacement = Some(rest);
                    return Some(Poll::Pending);
                }
            }
        }
        Some(Poll::Ready(Ok(written.len())))
    }
}

impl AsyncRead for ObservedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read >= READ_BUDGET {
            self.read = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let length = buf.remaining().min(READ_BUDGET - self.read);
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(length));
        let result = Pin::new(&mut self.inner).poll_read(cx, &mut part);
        self.progress.received(part.filled());
        let received = part.filled().len();
        buf.advance(received);
        self.read = if result.is_pending() { 0 } else { self.read + received };
        result
    }
}

impl AsyncWrite for ObservedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = match self.poll_replacement(cx, buf) {
            Some(result) => result,
            None => Pin::new(&mut self.inner).poll_write(cx, buf),
        };
        self.progress.write_blocked(result.is_pending());
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let replaced = match bufs {
            [only] => self.poll_replacement(cx, only),
            _ => None,
        };
        let result = match replaced {
            Some(result) => result,
            None => Pin::new(&mut self.inner).poll_write_vectored(cx, bufs),
        };
        self.progress.write_blocked(result.is_pending());
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn other_tasks_run_between_the_reads_of_a_flood() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut server = ObservedStream::new(listener.accept().await.unwrap().0, Progress::new());
        client.write_all(&[0; 2 * READ_BUDGET + 1]).await.unwrap();
        let mut buffer = [0; 4 * READ_BUDGET];
        let mut reads = Vec::new();
        let mut yields = 0;
        while reads.iter().sum::<usize>() < 2 * READ_BUDGET + 1 {
            tokio::select! {
                biased;
                read = server.read(&mut buffer) => reads.push(read.unwrap()),
                () = std::future::ready(()) => {
                    yields += 1;
                    tokio::task::yield_now().await;
                }
            }
        }
        assert!(reads.iter().all(|read| *read <= READ_BUDGET), "{reads:?}");
        assert!(yields >= 2, "{yields} yields between {reads:?}");
    }
}
