//! A TCP stream that reports what it receives, and when its peer accepts nothing. It reads a little at a time.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::progress::Progress;

/// Bytes that a connection may read before the runtime runs other tasks. Without it, one poll reads up to 1 MiB, which may
/// be 60 000 frames, and every other client waits.
const READ_BUDGET: usize = 2 * 1024;

/// A TCP stream that reports to a [`Progress`]. hyper has no timeout for writes, nor one for HTTP/2's first bytes.
pub(super) struct ObservedStream {
    inner: TcpStream,
    progress: Arc<Progress>,
    /// Bytes read since the last yield, or since nothing was left to read.
    read: usize,
}

// === impl ObservedStream ===

impl ObservedStream {
    pub(super) fn new(inner: TcpStream, progress: Arc<Progress>) -> Self {
        Self { inner, progress, read: 0 }
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
        let received = part.filled().len();
        buf.advance(received);
        self.read = if result.is_pending() { 0 } else { self.read + received };
        self.progress.received(received);
        result
    }
}

impl AsyncWrite for ObservedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.progress.write_blocked(result.is_pending());
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
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
        // The rest arrives with it, on loopback.
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
