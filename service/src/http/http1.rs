//! HTTP/1.1, and how it is seen that a caller has gone.
//!
//! hyper would see it by itself, by a read while a request is in flight. For that it needs a second buffer of 8 KiB, as
//! the request is still in the first. So it is told not to ([`http1::Builder::half_close`]), and the socket is asked
//! here, which needs no memory.

use std::{
    convert::Infallible,
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::response::Response;
use http::Request;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{HttpService, Service, service_fn},
};
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{
    head_timer::HeadTimer,
    protocol::{Protocol, Served},
};

/// How long a connection may take to send a request's head, and thus how long it may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a request's head that are waited for. One that is complete may be a little larger.
const MAX_HEAD: usize = 64 * 1024;

/// HTTP/1.1. A request's head may have 100 fields, hyper's default, in about 64 KiB (else 431), and take 30 s, counted
/// from when the connection fell idle.
#[derive(Clone, Copy, Debug)]
pub struct Http1;

/// The socket, which both hyper and the watch over the caller have. Only one at a time asks for it.
#[derive(Clone)]
struct Socket(Arc<Mutex<TcpStream>>);

pin_project! {
    /// An answer under way, which ends when nobody waits for it any more.
    struct Awaited<F> {
        #[pin]
        answer: F,
        caller: Caller,
    }
}

/// Who waits for an answer.
struct Caller {
    socket: Socket,
    /// Whether more has come, behind which the end cannot be seen.
    talks: bool,
}

/// The caller has closed its side before it had its answer.
#[derive(Debug)]
struct Gone;

// === impl Http1 ===

impl Protocol for Http1 {
    const SAYS_GOAWAY: bool = false;

    fn serve<S>(&self, stream: TcpStream, service: S) -> impl Served + Send
    where
        S: Service<Request<Incoming>, Response = Response, Error = Infallible> + Send + 'static,
        S::Future: Send + 'static,
    {
        let socket = Socket(Arc::new(Mutex::new(stream)));
        let service = service_fn({
            let socket = socket.clone();
            move |request| Awaited {
                answer: service.call(request),
                caller: Caller { socket: socket.clone(), talks: false },
            }
        });
        http1::Builder::new()
            .timer(HeadTimer::default())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD)
            .half_close(true)
            .serve_connection(TokioIo::new(socket), service)
    }
}

impl<S> Served for http1::Connection<TokioIo<Socket>, S>
where
    S: HttpService<Incoming, ResBody = axum::body::Body, Error = Gone>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}

// === impl Socket ===

impl Socket {
    fn lock(&self) -> MutexGuard<'_, TcpStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_read(cx, buf)
    }
}

/// Not vectored: answers are small, and one that is copied behind its head takes less than a list of pieces.
impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock()).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket keeps nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_shutdown(cx)
    }
}

// === impl Awaited ===

impl<F: Future<Output = Result<Response, Infallible>>> Future for Awaited<F> {
    type Output = Result<Response, Gone>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(Ok(answer)) = this.answer.poll(cx) {
            return Poll::Ready(Ok(answer));
        }
        this.caller.poll_gone(cx).map(Err)
    }
}

// === impl Caller ===

impl Caller {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        if self.talks {
            return Poll::Pending;
        }
        let mut first = [0];
        match self.socket.lock().poll_peek(cx, &mut ReadBuf::new(&mut first)) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Gone),
            Poll::Ready(Ok(_)) => {
                self.talks = true;
                Poll::Pending
            }
        }
    }
}

// === impl Gone ===

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the caller left before it had its answer")
    }
}

impl std::error::Error for Gone {}
