//! The way to the HTTP backend: kept connections, one deadline over everything, a bounded answer.

use std::{error::Error as _, fmt, io, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use url::Url;

use self::{
    connection::Connection,
    pool::Pool,
    server::{Server, Unreachable},
};
use super::{Backend, Failure, MAX_ANSWER, dns::RotatingResolver, root_cause};

mod connection;
mod pool;
mod server;

/// An idle connection is kept this long. A person who repeats a request by hand meets a new connection, and so
/// perhaps another pod, each time; a load reuses its connections.
pub(crate) const IDLE: Duration = Duration::from_millis(500);

/// The HTTP backend, and the connections to it.
#[derive(Debug)]
pub(crate) struct HttpUpstream {
    pub(crate) backend: Backend,
    server: Server,
    pool: Arc<Pool>,
}

// === impl HttpUpstream ===

impl HttpUpstream {
    /// For a URL that [`crate::config`] accepted. A connection may take `patience` to come up.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(crate) fn new(url: &Url, resolver: RotatingResolver, patience: Duration) -> Self {
        let backend = Backend { protocol: "HTTP", target: url.to_string() };
        Self { backend, server: Server::new(url, resolver, patience), pool: Pool::new(IDLE) }
    }

    /// Asks the backend to greet `name`, and returns what it says if it says it with success.
    ///
    /// # Errors
    ///
    /// 503 when no connection comes up, 504 when `allowed` is over before the answer's last byte, 502 for
    /// everything else.
    pub(crate) async fn greet(
        &self,
        name: &str,
        headers: &HeaderMap,
        allowed: Duration,
    ) -> Result<Bytes, Failure> {
        match tokio::time::timeout(allowed, self.exchange(name, headers)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let late = format_args!("did not answer within {allowed:?}");
                Err(self.backend.failure(StatusCode::GATEWAY_TIMEOUT, late))
            }
        }
    }

    /// It answered, but not what it should: 502.
    pub(crate) fn failed(&self, how: impl fmt::Display) -> Failure {
        self.backend.failure(StatusCode::BAD_GATEWAY, how)
    }

    async fn exchange(&self, name: &str, headers: &HeaderMap) -> Result<Bytes, Failure> {
        let mut connection = match self.pool.take() {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        let sent = match connection.send(self.server.request(name, headers)).await {
            // A pod may close a kept connection at the moment it is used. GET is idempotent, so one more try is
            // allowed (RFC 9110, 9.2.2); just one, because a backend that dies of the request needs no help.
            Err(error) if closed_unanswered(&error) => {
                connection = self.connect().await?;
                connection.send(self.server.request(name, headers)).await
            }
            sent => sent,
        };
        let broken = |error| self.failed(format_args!("broke off the exchange: {}", root_cause(&error)));
        let (head, mut body) = sent.map_err(broken)?.into_parts();
        if head.status.is_success() {
            let said = self.read(&mut connection, &mut body).await?;
            self.pool.put(connection);
            return Ok(said);
        }
        // Its first words are enough: they may never end.
        let words = connection.next(&mut body).await.and_then(Result::ok).unwrap_or_default();
        if body.is_end_stream() {
            self.pool.put(connection);
        }
        let words = String::from_utf8_lossy(words.trim_ascii());
        let separator = if words.is_empty() { "" } else { ": " };
        Err(self.failed(format_args!("answered {}{separator}{words}", head.status)))
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        // On the heap: few calls need it, and all would have room for it.
        Box::pin(self.server.connect()).await.map_err(|why| match why {
            Unreachable::Late => {
                self.backend.failure(StatusCode::GATEWAY_TIMEOUT, "took no connection in time")
            }
            why => {
                self.backend.failure(StatusCode::SERVICE_UNAVAILABLE, format_args!("is unavailable: {why}"))
            }
        })
    }

    /// Reads the body as far as it is allowed to go.
    async fn read(&self, connection: &mut Connection, body: &mut Incoming) -> Result<Bytes, Failure> {
        // Nearly every answer comes in one piece, which need not be copied.
        let mut first = Bytes::new();
        let mut whole = BytesMut::new();
        while let Some(piece) = connection.next(body).await {
            let piece = piece
                .map_err(|error| self.failed(format_args!("broke off its answer: {}", root_cause(&error))))?;
            if first.len() + whole.len() + piece.len() > MAX_ANSWER {
                return Err(self.failed(format_args!("answered more than {} KiB", MAX_ANSWER / 1024)));
            }
            if first.is_empty() && whole.is_empty() {
                first = piece;
            } else {
                whole.extend_from_slice(&std::mem::take(&mut first));
                whole.extend_from_slice(&piece);
            }
            if body.is_end_stream() {
                break;
            }
        }
        Ok(if whole.is_empty() { first } else { whole.freeze() })
    }
}

/// Whether the connection went away before it brought any answer.
fn closed_unanswered(error: &hyper::Error) -> bool {
    let reset = || {
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        cause.is_some_and(|error| {
            matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
        })
    };
    error.is_incomplete_message() || error.is_canceled() || error.is_closed() || reset()
}
