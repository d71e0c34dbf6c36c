//! The accept loop.

use std::{io, time::Duration};

use axum::Router;
use futures_util::FutureExt as _;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time,
};
use tracing::{debug, warn};

use super::{
    connection::{Connection, Lifetime},
    http1::Http1,
    http2::Http2,
    protocol::Protocol,
};
use crate::Shutdown;

/// How long to wait when the system has no more sockets to give.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// How connections are served. The defaults are limits that no honest client meets.
#[derive(Clone, Debug)]
pub struct Server<P = Http1> {
    protocol: P,
    lifetime: Lifetime,
}

// === impl Server ===

impl Server<Http1> {
    /// Serves HTTP/1.1, within the limits of [`Http1`].
    #[must_use]
    pub fn http1() -> Self {
        Self { protocol: Http1, lifetime: Lifetime::default() }
    }
}

impl Server<Http2> {
    /// Serves HTTP/2 without TLS, to clients that know it does ("prior knowledge", RFC 9113, section 3.3), as gRPC
    /// clients do.
    #[must_use]
    pub fn http2(limits: Http2) -> Self {
        Self { protocol: limits, lifetime: Lifetime::default() }
    }
}

impl<P: Protocol> Server<P> {
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
            let connection = Connection::new(stream, router.clone(), self.lifetime, shutdown.clone());
            connections.spawn(connection.run(self.protocol.clone()));
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

/// Clients that give up before we accept are no fault of ours; without sockets we wait for some to close.
async fn after_accept_error(error: &io::Error) {
    let theirs = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset];
    if !theirs.contains(&error.kind()) {
        warn!("cannot accept a connection: {error}; trying again in {ACCEPT_BACKOFF:?}");
        time::sleep(ACCEPT_BACKOFF).await;
    }
}
