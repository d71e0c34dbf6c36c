//! The accept loop.

use std::{io, time::Duration};

use axum::Router;
use futures_util::FutureExt as _;
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time,
};
use tracing::{debug, warn};

use super::{
    connection::{Connection, Lifetime},
    head_timer::HeadTimer,
};
use crate::Shutdown;

/// How long to wait when the system has no more sockets to give.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// How long a connection may take to send a request's head, and thus how long it may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a request's head that are waited for. One that is complete may be a little larger.
const MAX_HEAD: usize = 64 * 1024;

/// How connections are served. The defaults are limits that no honest client meets.
#[derive(Clone, Debug)]
pub struct Server {
    builder: auto::Builder<TokioExecutor>,
    lifetime: Lifetime,
}

/// The limits of HTTP/2 connections.
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

// === impl Server ===

impl Server {
    /// Serves HTTP/1.1. A request's head may have 100 fields, hyper's default, in about 64 KiB (else 431), and take
    /// 30 s, counted from when the connection fell idle.
    #[must_use]
    pub fn http1() -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
        builder.http1().header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD);
        Self { builder, lifetime: Lifetime::new(false) }
    }

    /// Serves HTTP/2 without TLS, to clients that know it does ("prior knowledge", RFC 9113, section 3.3), as gRPC
    /// clients do.
    #[must_use]
    pub fn http2(limits: Http2) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new()).http2_only();
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.max_concurrent_streams)
            .max_header_list_size(limits.max_header_list_size)
            .keep_alive_interval((!limits.keepalive_interval.is_zero()).then_some(limits.keepalive_interval))
            .keep_alive_timeout(limits.keepalive_timeout);
        Self { builder, lifetime: Lifetime::new(true) }
    }

    /// Ends each connection after `age`, give or take 10 % so that they do not all end together (gRFC A9): over
    /// HTTP/2 with GOAWAY, over HTTP/1 with `connection: close` on the next answer. What is still in flight
    /// `grace` later is cut off. Zero is for ever, for both.
    #[must_use]
    pub fn max_connection_age(mut self, age: Duration, grace: Duration) -> Self {
        self.lifetime.age = age;
        self.lifetime.grace = grace;
        self
    }

    /// Serves until `shutdown` closes and the last connection has ended. Dropping the future cuts all of them.
    pub async fn serve(self, listener: TcpListener, router: Router, shutdown: Shutdown) {
        let mut connections = JoinSet::new();
        // Without it, axum would make each handler a route again for each request.
        let router = router.with_state::<()>(());
        let spawn = |connections: &mut JoinSet<()>, stream: TcpStream| {
            let lifetime = self.lifetime.clone();
            let connection = Connection::new(stream, router.clone(), lifetime, shutdown.clone());
            let mut builder = self.builder.clone();
            // Asked for the deadline of a head, so that HTTP/2 leaves it alone.
            builder.http1().timer(HeadTimer::default());
            connections.spawn(connection.run(builder));
        };
        loop {
            tokio::select! {
                () = shutdown.closing() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _peer)) => spawn(&mut connections, stream),
                    Err(error) => after_accept_error(&error).await,
                },
                // Ended connections are taken out as they end.
                Some(_ended) = connections.join_next() => {}
            }
        }
        // Clients whose connection the kernel completed are served; closing the socket would reset them.
        while let Some(Ok((stream, _peer))) = listener.accept().now_or_never() {
            spawn(&mut connections, stream);
        }
        drop(listener);
        debug!(connections = connections.len(), "waiting for connections to end");
        while connections.join_next().await.is_some() {}
    }
}

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

/// Clients that give up before we accept are no fault of ours; without sockets we wait for some to close.
async fn after_accept_error(error: &io::Error) {
    let theirs = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset];
    if !theirs.contains(&error.kind()) {
        warn!("cannot accept a connection: {error}; trying again in {ACCEPT_BACKOFF:?}");
        time::sleep(ACCEPT_BACKOFF).await;
    }
}
