//! From an endpoint to an HTTP/2 connection that has shown that it works.

mod connector;
mod frames;

use std::{error::Error, fmt::Write as _, time::Duration};

pub use connector::{Connector, TcpConnector};
use frames::{FrameWatch, Phase};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{sync::watch, time::timeout};

use crate::{call::RequestBody, resolver::Endpoint};

/// Sends calls over one connection.
pub(crate) type Sender = http2::SendRequest<RequestBody>;

type Driver<I> = http2::Connection<TokioIo<FrameWatch<I>>, RequestBody, TokioExecutor>;

/// What a connection is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Http2 {
    pub(crate) connect_timeout: Duration,
    pub(crate) keepalive: Option<Keepalive>,
}

/// HTTP/2 keepalive pings (gRFC A8): a peer that answers none is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// How long a connection may be silent before a ping goes out.
    pub time: Duration,
    /// How long the answer may take. Default: 20 s.
    pub timeout: Duration,
    /// Whether to ping while no call is in flight. Default: no; many servers forbid it.
    pub without_calls: bool,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ConnectError(String);

/// A connection whose peer speaks HTTP/2.
pub(crate) struct Connection<I: Connector> {
    driver: Driver<I::Io>,
    phase: watch::Receiver<Phase>,
}

/// How a connection stopped taking calls.
pub(crate) enum Stopped {
    /// The peer said GOAWAY; calls in flight go on, so the connection must be drained.
    Draining,
    /// It is gone, and why.
    Lost(String),
}

// === impl Keepalive ===

impl Keepalive {
    /// Pings after `time` of silence, with the other values at their defaults.
    pub fn new(time: Duration) -> Self {
        Self { time, timeout: Duration::from_secs(20), without_calls: false }
    }
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

    async fn open<C: Connector>(
        &self,
        connector: &C,
        endpoint: &Endpoint,
    ) -> Result<(Sender, Connection<C>), String> {
        let io = connector.connect(endpoint).await.map_err(|error| chain(&error))?;
        let (io, mut phase) = FrameWatch::new(io);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2.timer(TokioTimer::new());
        if let Some(keepalive) = self.keepalive {
            http2
                .keep_alive_interval(keepalive.time)
                .keep_alive_timeout(keepalive.timeout)
                .keep_alive_while_idle(keepalive.without_calls);
        }
        let (sender, mut driver) = http2.handshake(TokioIo::new(io)).await.map_err(|error| chain(&error))?;
        tokio::select! {
            ended = &mut driver => {
                return Err(reason(ended));
            }
            spoke = phase.wait_for(|phase| *phase != Phase::Opening) => {
                spoke.map_err(|_| "closed by the peer")?;
            }
        }
        Ok((sender, Connection { driver, phase }))
    }
}

// === impl Connection ===

impl<C: Connector> Connection<C> {
    /// Runs the connection until it takes no more calls.
    pub(crate) async fn serve(&mut self) -> Stopped {
        tokio::select! {
            biased;
            // An error says that the stream is gone before the driver has said why.
            Ok(_) = self.phase.wait_for(|phase| *phase == Phase::Draining) => Stopped::Draining,
            ended = &mut self.driver => Stopped::Lost(reason(ended)),
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
