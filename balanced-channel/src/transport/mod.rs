//! From an endpoint to an HTTP/2 connection that has shown that it works.

mod connector;
mod frames;
mod keepalive;
mod wire;

use std::{
    error::Error,
    fmt::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

pub use connector::{Connector, TcpConnector};
pub(crate) use frames::GoAway;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
pub use keepalive::Keepalive;
use tokio::{sync::watch, time::timeout};
use wire::{Peer, Wire};

use crate::{metrics::Disconnect, request::RequestBody, resolver::Endpoint};

/// Sends calls over one connection.
pub(crate) type Sender = http2::SendRequest<RequestBody>;

type Driver<I> = http2::Connection<TokioIo<Wire<I>>, RequestBody, TokioExecutor>;

/// The flow-control window of a connection: all that HTTP/2 allows. The window of each response
/// bounds what its reader leaves unread; one for all of them would let a few slow readers stop every
/// other call on the connection. h2 also ends a connection with more than half of this window's
/// worth of small frames unread, each counted as 256 bytes.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// What a connection is made with.
#[derive(Clone, Debug)]
pub(crate) struct Http2 {
    pub(crate) connect_timeout: Duration,
    pub(crate) keepalive: Option<Keepalive>,
    /// How often servers have said that there are too many pings; all connections share it.
    pub(crate) complaints: Arc<AtomicU32>,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ConnectError(String);

/// A connection whose peer speaks HTTP/2.
pub(crate) struct Connection<I: Connector> {
    driver: Driver<I::Io>,
    peer: watch::Receiver<Peer>,
    /// Whether the peer is silent, as was last said.
    silent: bool,
}

/// What becomes of a connection.
#[derive(Debug)]
pub(crate) enum Change {
    /// The peer answers no ping; calls had better go elsewhere.
    Silent,
    /// The peer has spoken again.
    Heard,
    /// The peer said GOAWAY; calls in flight go on, so the connection must be drained.
    Draining(GoAway),
    /// It is gone, and why.
    Lost(String, Disconnect),
}

// === impl Http2 ===

impl Http2 {
    /// Connects, and waits until the peer has sent its SETTINGS: a peer that accepts and says
    /// nothing is not ready (gRPC connectivity semantics).
    pub(crate) async fn connect<C: Connector>(
        &self,
        connector: &C,
        endpoint: &Endpoint,
    ) -> Result<(Sender, Connection<C>), ConnectError> {
        let connected = timeout(self.connect_timeout, self.open(connector, endpoint)).await;
        connected
            .unwrap_or_else(|_| Err(format!("not connected within {:?}", self.connect_timeout)))
            .map_err(|why| ConnectError(format!("{}: {why}", endpoint.address)))
    }

    /// The keepalive of new connections.
    pub(crate) fn keepalive(&self) -> Option<Keepalive> {
        let complaints = self.complaints.load(Ordering::Relaxed);
        self.keepalive.map(|keepalive| keepalive.calmed(complaints))
    }

    /// Notes that a server wants fewer pings.
    pub(crate) fn complain(&self, address: SocketAddr) {
        self.complaints.fetch_add(1, Ordering::Relaxed);
        let time = self.keepalive().map(|keepalive| keepalive.time);
        tracing::warn!(%address, ?time, "the server wants fewer keepalive pings; later connections wait longer");
    }

    async fn open<C: Connector>(
        &self,
        connector: &C,
        endpoint: &Endpoint,
    ) -> Result<(Sender, Connection<C>), String> {
        let io = connector.connect(endpoint).await.map_err(|error| chain(&error))?;
        let (io, mut peer) = Wire::new(io, self.keepalive());
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2.timer(TokioTimer::new()).initial_connection_window_size(CONNECTION_WINDOW);
        let (sender, mut driver) = http2.handshake(TokioIo::new(io)).await.map_err(|error| chain(&error))?;
        tokio::select! {
            ended = &mut driver => {
                return Err(reason(ended));
            }
            spoke = peer.wait_for(|peer| peer.open) => {
                spoke.map_err(|_| "closed by the peer")?;
            }
        }
        Ok((sender, Connection { driver, peer, silent: false }))
    }
}

// === impl Connection ===

impl<C: Connector> Connection<C> {
    /// Runs the connection until something is to be said about it. Not to be asked again once it is
    /// draining or lost.
    pub(crate) async fn next(&mut self) -> Change {
        let silent = self.silent;
        tokio::select! {
            biased;
            // An error says that the stream is gone before the driver has said why.
            Ok(peer) = self.peer.wait_for(|peer| peer.goaway.is_some() || peer.silent != silent) => {
                self.silent = peer.silent;
                match (peer.goaway, peer.silent) {
                    (Some(goaway), _) => Change::Draining(goaway),
                    (None, true) => Change::Silent,
                    (None, false) => Change::Heard,
                }
            }
            ended = &mut self.driver => {
                let disconnect = ended.as_ref().err().map_or(Disconnect::Unknown, |error| Disconnect::by(error));
                Change::Lost(reason(ended), disconnect)
            }
        }
    }

    /// Runs the connection until its last call has ended.
    pub(crate) async fn drain(self) {
        if let Err(error) = self.driver.await {
            tracing::debug!(error = chain(&error), "a draining connection ended");
        }
    }
}

fn reason(ended: Result<(), hyper::Error>) -> String {
    ended.map_or_else(|error| chain(&error), |()| "closed by the peer".to_owned())
}

// === impl ConnectError ===

impl ConnectError {
    /// There is a connection, and the server says that it should not be used.
    pub(crate) fn unhealthy(why: String) -> Self {
        Self(why)
    }

    /// The peer takes connections and ends them at once.
    pub(crate) fn short_lived(endpoint: &Endpoint, life: Duration, why: &str) -> Self {
        Self(format!("{}: connection lost after {life:.0?}: {why}", endpoint.address))
    }
}

/// An error and its sources in one sentence, each said once.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut sentence = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !sentence.contains(&more) {
            // Writing to a String cannot fail.
            let _ = write!(sentence, ": {more}");
        }
        source = error.source();
    }
    sentence
}
