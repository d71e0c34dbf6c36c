//! HTTP/2 without TLS.

use std::{convert::Infallible, pin::Pin, time::Duration};

use axum::response::Response;
use http::Request;
use hyper::{
    body::Incoming,
    server::conn::http2,
    service::{HttpService, Service},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::protocol::{Protocol, Served};

/// HTTP/2, and the limits of its connections.
#[derive(Clone, Copy, Debug)]
pub struct Http2 {
    /// Streams a client may have open at once on a connection; more wait in the client.
    pub max_concurrent_streams: u32,
    /// Bytes of all header fields of a request, as RFC 9113 counts them (section 6.5.2).
    pub max_header_list_size: u32,
    /// How long a connection may be silent before it is asked with a PING; zero never asks.
    pub keepalive_interval: Duration,
    /// How long the answer to that PING may take before the connection is closed.
    pub keepalive_timeout: Duration,
}

// === impl Http2 ===

impl Default for Http2 {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 1000,
            max_header_list_size: 16 * 1024,
            keepalive_interval: Duration::from_secs(7200),
            keepalive_timeout: Duration::from_secs(20),
        }
    }
}

impl Protocol for Http2 {
    const SAYS_GOAWAY: bool = true;

    fn serve<S>(&self, stream: TcpStream, service: S) -> impl Served + Send
    where
        S: Service<Request<Incoming>, Response = Response, Error = Infallible> + Send + 'static,
        S::Future: Send + 'static,
    {
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.max_concurrent_streams)
            // All that may be open may be taken back together, when their deadlines end. h2 takes more than 20 for an
            // attack (CVE-2023-44487), and would end the connection with every other call on it.
            .max_pending_accept_reset_streams(self.max_concurrent_streams as usize)
            .max_header_list_size(self.max_header_list_size)
            .keep_alive_interval((!self.keepalive_interval.is_zero()).then_some(self.keepalive_interval))
            .keep_alive_timeout(self.keepalive_timeout)
            .serve_connection(TokioIo::new(stream), service)
    }
}

impl<S> Served for http2::Connection<TokioIo<TcpStream>, S, TokioExecutor>
where
    S: HttpService<Incoming, ResBody = axum::body::Body, Error = Infallible>,
    S::Future: Send + 'static,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}
