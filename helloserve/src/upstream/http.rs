//! The way to the HTTP backend: pooled connections, one deadline over everything, a bounded answer.

use std::{fmt, io, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use reqwest::{Client, Response, Url, redirect};

use super::{Backend, Failure, MAX_ANSWER, dns::RotatingResolver, root_cause};

/// An idle connection is kept this long. A person who repeats a request by hand meets a new connection, and so
/// perhaps another pod, each time; a load reuses its connections.
pub(crate) const IDLE: Duration = Duration::from_millis(500);

/// The HTTP backend, and the connections to it.
#[derive(Debug)]
pub(crate) struct HttpUpstream {
    pub(crate) backend: Backend,
    url: Url,
    client: Client,
}

// === impl HttpUpstream ===

impl HttpUpstream {
    /// For a URL that [`crate::config`] accepted. A connection may take `patience` to come up; that bounds what
    /// goes on after the request that wanted it is gone.
    ///
    /// # Errors
    ///
    /// When the client cannot be set up.
    pub(crate) fn new(
        url: Url,
        resolver: RotatingResolver,
        patience: Duration,
    ) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .user_agent(concat!("helloserve/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(resolver)
            // The target is in the same cluster. A proxy in the environment is meant for the world outside.
            .no_proxy()
            // A backend must not send the gateway anywhere else.
            .redirect(redirect::Policy::none())
            .pool_idle_timeout(IDLE)
            .connect_timeout(patience)
            .build()?;
        let backend = Backend { protocol: "HTTP", target: url.to_string() };
        Ok(Self { backend, url, client })
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
        let sent = match self.send(name, headers).await {
            // A pod may close a kept connection at the moment it is used. GET is idempotent, so one more try is
            // allowed (RFC 9110, 9.2.2); just one, because a backend that dies of the request needs no help.
            Err(error) if closed_unanswered(&error) => self.send(name, headers).await,
            sent => sent,
        };
        let mut response = sent.map_err(|error| self.unanswered(&error))?;
        let status = response.status();
        if status.is_success() {
            return self.body(response).await;
        }
        // Its first words are enough: they may never end.
        let words = response.chunk().await.ok().flatten().unwrap_or_default();
        let words = String::from_utf8_lossy(words.trim_ascii());
        let separator = if words.is_empty() { "" } else { ": " };
        Err(self.failed(format_args!("answered {status}{separator}{words}")))
    }

    async fn send(&self, name: &str, headers: &HeaderMap) -> Result<Response, reqwest::Error> {
        let mut url = self.url.clone();
        url.query_pairs_mut().append_pair("name", name);
        self.client.get(url).headers(headers.clone()).send().await
    }

    /// What kept an answer from coming.
    fn unanswered(&self, error: &reqwest::Error) -> Failure {
        let cause = root_cause(error);
        if error.is_timeout() {
            self.backend.failure(StatusCode::GATEWAY_TIMEOUT, "took no connection in time")
        } else if error.is_connect() {
            self.backend.failure(StatusCode::SERVICE_UNAVAILABLE, format_args!("is unavailable: {cause}"))
        } else {
            self.failed(format_args!("broke off the exchange: {cause}"))
        }
    }

    /// Reads the body as far as it is allowed to go.
    async fn body(&self, mut response: Response) -> Result<Bytes, Failure> {
        let mut body = BytesMut::new();
        let broken = |error| self.failed(format_args!("broke off its answer: {}", root_cause(&error)));
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(self.failed(format_args!("answered more than {} KiB", MAX_ANSWER / 1024)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

/// Whether the connection went away before it brought any answer.
fn closed_unanswered(error: &reqwest::Error) -> bool {
    if error.is_connect() {
        return false;
    }
    let cause = root_cause(error);
    let closed = cause
        .downcast_ref::<hyper::Error>()
        .is_some_and(|error| error.is_incomplete_message() || error.is_canceled());
    let reset = cause.downcast_ref::<io::Error>().is_some_and(|error| {
        matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
    });
    closed || reset
}
