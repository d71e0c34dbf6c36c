//! One connection to the HTTP backend. It has no task of its own: whoever waits for an answer drives it, so that a
//! call is not handed from task to task and back.

use std::{
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::net::TcpStream;

/// One connection, for one request at a time. Dropped, it is closed.
#[derive(Debug)]
pub(super) struct Connection {
    requests: SendRequest<Empty<Bytes>>,
    wire: Wire,
}

/// What reads and writes, whenever it is polled.
#[derive(Debug)]
struct Wire {
    connection: Pin<Box<http1::Connection<TokioIo<TcpStream>, Empty<Bytes>>>>,
    ended: bool,
}

// === impl Connection ===

impl Connection {
    /// Connects to `peer`.
    ///
    /// # Errors
    ///
    /// When the system cannot.
    pub(super) async fn open(peer: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(peer).await?;
        // A connection that cannot be told not to wait still works.
        drop(stream.set_nodelay(true));
        let shaken = handshake(TokioIo::new(stream)).await;
        let (requests, connection) = shaken.map_err(std::io::Error::other)?;
        Ok(Self { requests, wire: Wire { connection: Box::pin(connection), ended: false } })
    }

    /// Whether it takes a request, as far as can be seen from here: reads what has come meanwhile, which may be the
    /// end.
    pub(super) fn is_open(&mut self) -> bool {
        // Nobody waits for what comes later.
        self.wire.poll(&mut Context::from_waker(Waker::noop()));
        !self.wire.ended && self.requests.is_ready()
    }

    /// Sends a request, and waits for the head of its answer.
    ///
    /// # Errors
    ///
    /// Those of hyper.
    pub(super) fn send(
        &mut self,
        request: Request<Empty<Bytes>>,
    ) -> impl Future<Output = Result<Response<Incoming>, hyper::Error>> {
        self.wire.drive(self.requests.send_request(request))
    }

    /// The next piece of an answer that came over this connection; none after the last.
    pub(super) async fn next(&mut self, body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            match self.wire.drive(body.frame()).await? {
                Ok(frame) => {
                    // Trailers say nothing that is asked for here.
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

pin_project! {
    /// Work that is done when a wire has read or written enough.
    struct Driven<'a, F> {
        wire: &'a mut Wire,
        #[pin]
        work: F,
    }
}

// === impl Wire ===

impl Wire {
    /// Reads and writes until `work`, which waits for nothing else, is done.
    fn drive<F: Future>(&mut self, work: F) -> Driven<'_, F> {
        Driven { wire: self, work }
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        // An error reaches the caller with the request or the body that it broke.
        self.ended = self.ended || self.connection.as_mut().poll(cx).is_ready();
    }
}

// === impl Driven ===

impl<F: Future> Future for Driven<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        // Only the wire can bring it on, and it is asked after each turn of the wire; so it need not wake anybody.
        let mut asleep = Context::from_waker(Waker::noop());
        if let Poll::Ready(done) = this.work.as_mut().poll(&mut asleep) {
            return Poll::Ready(done);
        }
        this.wire.poll(cx);
        this.work.poll(&mut asleep)
    }
}
