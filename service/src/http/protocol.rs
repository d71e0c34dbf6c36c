//! What a connection can speak. Each protocol is a type, so that a program has in it only those that it serves.

use std::{convert::Infallible, pin::Pin};

use axum::response::Response;
use http::Request;
use hyper::{body::Incoming, service::Service};
use tokio::net::TcpStream;

/// A protocol, with its limits.
pub trait Protocol: Clone + Send + 'static {
    /// Whether it can say that a connection will end (GOAWAY) before it does.
    const SAYS_GOAWAY: bool;

    /// The work on one connection, of which each request is answered by `service`.
    fn serve<S>(&self, stream: TcpStream, service: S) -> impl Served + Send
    where
        S: Service<Request<Incoming>, Response = Response, Error = Infallible> + Send + 'static,
        S::Future: Send + 'static;
}

/// A connection that is served as long as it is polled.
pub trait Served: Future<Output = hyper::Result<()>> {
    /// Takes nothing new; ends when what is in flight is finished.
    fn graceful_shutdown(self: Pin<&mut Self>);
}
