//! Opens HTTP/2 connections to endpoints.

mod client;
mod connector;
mod driver;
mod header_list;
mod http2_error;
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
pub(crate) use header_list::HeaderListLimit;
pub use header_list::header_list_size;
pub(crate) use http2_error::CODE_NAMES;
pub use http2_error::describe_http2_error;
pub use keepalive::Keepalive;
use keepalive::pinger::Pinger;
pub(crate) use replay::{AttemptBody, ReplayBody, SentMessages, UploadGuard};
pub(crate) use response_body::{IncomingBody, ResponseError};
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

/// The flow-control window of a connection: the maximum of HTTP/2. The window of each stream limits unread data. A
/// common limit for all streams would let a few slow readers block the other calls. h2 also closes a connection when
/// its unread small frames, counted as 256 bytes each, exceed half of this window.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// The flow-control window of a stream: the maximum of unread data of a response.
const STREAM_WINDOW: u32 = 2 << 20;
/// The number of bytes per stream that h2 buffers of an upload before they are written.
const SEND_BUFFER: usize = 1 << 20;

/// The settings of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Http2Config {
    pub(crate) connect_timeout: Duration,
    pub(crate) keepalive: Option<Keepalive>,
    pub(crate) header_list_limit: HeaderListLimit,
    /// The number of GOAWAY frames with `too_many_pings`, over all connections of the channel.
    pub(crate) too_many_pings: Arc<AtomicU32>,
}

/// An attempt to connect failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ConnectError(String);

// === impl Http2Config ===

impl Http2Config {
    /// Connects, and waits until the peer has sent its SETTINGS. A peer that accepts the connection and sends nothing
    /// is not ready (gRPC connectivity semantics).
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

    /// Returns the keepalive of new connections.
    pub(crate) fn keepalive(&self) -> Option<Keepalive> {
        let too_many_pings = self.too_many_pings.load(Ordering::Relaxed);
        self.keepalive.map(|keepalive| keepalive.after_too_many_pings(too_many_pings))
    }

    /// Records a GOAWAY with `too_many_pings`.
    pub(crate) fn record_too_many_pings(&self, address: SocketAddr) {
        self.too_many_pings.fetch_add(1, Ordering::Relaxed);
        let time = self.keepalive().map(|keepalive| keepalive.time);
        tracing::warn!(%address, ?time, "server rejected keepalive PINGs as too many; later connections send fewer");
    }

    async fn open<C: Connector>(
        &self,
        connector: &C,
        endpoint: &Endpoint,
    ) -> Result<(Http2Client, ConnectionMonitor), String> {
        let io = connector.connect(endpoint).await.map_err(|error| chain(&error))?;
        let (client, mut driver, shared) =
            handshake(io, self.keepalive(), self.header_list_limit).await.map_err(|error| chain(&error))?;
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

/// Performs the HTTP/2 handshake. Nothing is sent unless the driver is polled.
async fn handshake<I: AsyncRead + AsyncWrite + Send + Unpin>(
    io: I,
    keepalive: Option<Keepalive>,
    header_list_limit: HeaderListLimit,
) -> Result<(Http2Client, Driver<I>, Arc<Shared>), h2::Error> {
    let shared = Arc::new(Shared::new(header_list_limit));
    let mut builder = h2::client::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(header_list_limit.of_h2())
        .max_send_buffer_size(SEND_BUFFER)
        .enable_push(false);
    let (h2, mut connection) = builder.handshake::<_, Bytes>(SniffedIo::new(io, shared.clone())).await?;
    // This is the first and only call of `ping_pong`.
    let pings = connection.ping_pong();
    let pinger = keepalive.zip(pings).map(|(keepalive, pings)| Pinger::new(keepalive, pings));
    Ok((Http2Client::new(h2, shared.clone()), Driver::new(connection, pinger, shared.clone()), shared))
}

// === impl ConnectError ===

impl ConnectError {
    /// Creates the error of a server that reports that it is not serving.
    pub(crate) fn unhealthy(why: String) -> Self {
        Self(why)
    }

    /// Creates the error of a connector that panicked.
    pub(crate) fn panicked(endpoint: &Endpoint) -> Self {
        Self(format!("{}: the connector panicked", endpoint.address))
    }

    /// Creates the error of a peer that accepts connections and ends them at once.
    pub(crate) fn short_lived(endpoint: &Endpoint, life: Duration, why: &str) -> Self {
        Self(format!("{}: connection lost after {life:.0?}: {why}", endpoint.address))
    }
}

/// Joins an error and its sources, without duplicates.
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
