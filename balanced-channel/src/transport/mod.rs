//! From an endpoint to an HTTP/2 connection that has shown that it works.

mod client;
mod connector;
mod driver;
mod keepalive;
mod replay;
mod request_body;
mod response_body;
mod shared;
mod sniffer;
mod stream_quota;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(feature = "tls")]
mod tls;

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

use bytes::Bytes;
pub(crate) use client::{Http2Client, SendError};
pub use connector::{Connector, TcpConnector};
use driver::Driver;
pub(crate) use driver::{ConnectionEvent, ConnectionMonitor};
pub use keepalive::Keepalive;
use keepalive::pinger::Pinger;
pub(crate) use replay::{AttemptBody, ReplayBody, SentMessages, UploadGuard};
pub(crate) use response_body::IncomingBody;
pub(crate) use shared::ConnectionLost;
use shared::Shared;
use sniffer::SniffedIo;
#[cfg(feature = "tls")]
pub use tls::{CaFileVerifier, CertificateProblem, Tls, TlsConnector, TlsError};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use crate::resolver::Endpoint;

/// The flow-control window of a connection: all that HTTP/2 allows. The window of each response
/// bounds what its reader leaves unread; one for all of them would let a few slow readers stop every
/// other call on the connection. h2 also ends a connection with more than half of this window's
/// worth of small frames unread, each counted as 256 bytes.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// The flow-control window of a stream: what a response may have that its reader leaves unread.
const STREAM_WINDOW: u32 = 2 << 20;
/// The time that the headers or the trailers of a response may be, decoded.
const MAX_HEADER_LIST: u32 = 16 << 10;
/// The number of bytes per stream that h2 buffers of an upload before they are written.
const SEND_BUFFER: usize = 1 << 20;

/// The settings of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Http2Config {
    pub(crate) connect_timeout: Duration,
    pub(crate) keepalive: Option<Keepalive>,
    /// The number of times that servers have said that there are too many pings; all connections share it.
    pub(crate) too_many_pings: Arc<AtomicU32>,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ConnectError(String);

// === impl Http2Config ===

impl Http2Config {
    /// Connects, and waits until the peer has sent its SETTINGS: a peer that accepts and says
    /// nothing is not ready (gRPC connectivity semantics).
    pub(crate) async fn connect<C: Connector>(
        &self,
        connector: &C,
        endpoint: &Endpoint,
    ) -> Result<(Http2Client, ConnectionMonitor), ConnectError> {
        let connected = timeout(self.connect_timeout, self.open(connector, endpoint)).await;
        connected
            .unwrap_or_else(|_| Err(format!("not connected within {:?}", self.connect_timeout)))
            .map_err(|why| ConnectError(format!("{}: {why}", endpoint.address)))
    }

    /// The keepalive of new connections.
    pub(crate) fn keepalive(&self) -> Option<Keepalive> {
        let too_many_pings = self.too_many_pings.load(Ordering::Relaxed);
        self.keepalive.map(|keepalive| keepalive.after_too_many_pings(too_many_pings))
    }

    /// Notes that a server wants fewer pings.
    pub(crate) fn record_too_many_pings(&self, address: SocketAddr) {
        self.too_many_pings.fetch_add(1, Ordering::Relaxed);
        let time = self.keepalive().map(|keepalive| keepalive.time);
        tracing::warn!(%address, ?time, "the server wants fewer keepalive pings; later connections wait longer");
    }

    async fn open<C: Connector>(
        &self,
        connector: &C,
        endpoint: &Endpoint,
    ) -> Result<(Http2Client, ConnectionMonitor), String> {
        let io = connector.connect(endpoint).await.map_err(|error| chain(&error))?;
        let (client, mut driver, shared) =
            handshake(io, self.keepalive()).await.map_err(|error| chain(&error))?;
        let mut peer = shared.peer.subscribe();
        let ended = tokio::select! {
            biased;
            () = &mut driver => true,
            _ = peer.wait_for(|peer| peer.open) => false,
        };
        if !ended {
            tokio::spawn(driver);
        } else if let Some(lost) = peer.borrow().failure() {
            return Err(lost.why.clone());
        }
        Ok((client, ConnectionMonitor::new(peer)))
    }
}

/// Begins to speak HTTP/2. The driver must run for anything to be sent.
async fn handshake<I: AsyncRead + AsyncWrite + Send + Unpin>(
    io: I,
    keepalive: Option<Keepalive>,
) -> Result<(Http2Client, Driver<I>, Arc<Shared>), h2::Error> {
    let shared = Arc::new(Shared::new());
    let mut builder = h2::client::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_send_buffer_size(SEND_BUFFER)
        .enable_push(false);
    let (h2, mut connection) = builder.handshake::<_, Bytes>(SniffedIo::new(io, shared.clone())).await?;
    // There is one to take: nobody has taken it before.
    let pings = connection.ping_pong();
    let pinger = keepalive.zip(pings).map(|(keepalive, pings)| Pinger::new(keepalive, pings));
    Ok((Http2Client::new(h2, shared.clone()), Driver::new(connection, pinger, shared.clone()), shared))
}

// === impl ConnectError ===

impl ConnectError {
    /// There is a connection, and the server says that it should not be used.
    pub(crate) fn unhealthy(why: String) -> Self {
        Self(why)
    }

    /// The connector has panicked.
    pub(crate) fn panicked(endpoint: &Endpoint) -> Self {
        Self(format!("{}: the connector panicked", endpoint.address))
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
