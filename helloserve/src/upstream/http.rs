//! Calls to the HTTP backend through one `reqwest::Client`, with one deadline for the whole exchange and a limit on the size
//! of the response.

mod client;
mod error;

use std::{
    net::SocketAddr,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use client::client;
use error::{closed_before_response, failure, request_failed, root_cause};
use http::HeaderMap;
use prometheus::{IntCounter, IntCounterVec, Opts};
use reqwest::{Client, Response};
use serde_json::{Map, Value};
use service::Metrics;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use url::{Host, Url};

use super::{
    FailureKind, FailureLog, MAX_RESPONSE_BYTES, UpstreamError,
    opened::{OPENED, Opened},
    peers::Peers,
    resolver::RotatingResolver,
};

/// The timeout of a connection attempt during the start of the gateway, and the pause before the next attempt.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// The value of the label `outcome` for a response that the gateway used.
const SUCCESS: &str = "success";

/// The values of the label `connection`: whether a request opened its connection or reused one.
const CONNECTIONS: [&str; 2] = ["new", "reused"];

/// A client with its pool of idle connections. Replacing the client closes all of them.
#[derive(Clone, Debug)]
struct PooledClient {
    client: Client,
    /// The number of earlier clients.
    generation: u64,
}

/// The HTTP backend and the client that calls it.
#[derive(Debug)]
pub(crate) struct HttpUpstream {
    url: Url,
    pool: RwLock<PooledClient>,
    peers: Peers,
    /// The timeout of a connection attempt. A request with a shorter deadline does not count against a peer.
    upstream_timeout: Duration,
    resolver: RotatingResolver,
    outcomes: IntCounterVec,
    retries: IntCounter,
    log: FailureLog,
}

// === impl HttpUpstream ===

impl HttpUpstream {
    /// Creates the client for a URL that [`crate::config`] accepted.
    ///
    /// # Errors
    ///
    /// If the client cannot be created.
    pub(crate) fn new(
        url: &Url,
        resolver: RotatingResolver,
        upstream_timeout: Duration,
        metrics: &Metrics,
    ) -> reqwest::Result<Self> {
        let pool = PooledClient { client: client(&resolver, upstream_timeout)?, generation: 0 };
        let outcomes = IntCounterVec::new(
            Opts::new(
                "helloserve_http_upstream_requests_total",
                "Requests to the HTTP backend, by outcome and by connection: new or reused.",
            ),
            &["outcome", "connection"],
        )
        .expect("the name and label are valid");
        for outcome in FailureKind::ALL.map(FailureKind::name).into_iter().chain([SUCCESS]) {
            for connection in CONNECTIONS {
                outcomes.with_label_values(&[outcome, connection]);
            }
        }
        let retries = IntCounter::new(
            "helloserve_http_upstream_retries_total",
            "Requests sent again because the HTTP backend closed a reused connection.",
        )
        .expect("the name is valid");
        metrics.register(outcomes.clone());
        metrics.register(retries.clone());
        Ok(Self {
            url: url.clone(),
            pool: RwLock::new(pool),
            peers: Peers::default(),
            upstream_timeout,
            resolver,
            outcomes,
            retries,
            log: FailureLog::default(),
        })
    }

    /// Requests a greeting for `name` and returns the JSON object of a successful response.
    ///
    /// # Errors
    ///
    /// If there is no such response within `allowed`; see [`FailureKind`].
    pub(crate) async fn greet(
        &self,
        name: &str,
        headers: HeaderMap,
        allowed: Duration,
    ) -> Result<Map<String, Value>, UpstreamError> {
        let sent = Instant::now();
        let exchange = OPENED.scope(Opened::default(), async {
            let pool = self.pool();
            let outcome = timeout(allowed, self.exchange(&pool, name, headers)).await;
            // A shorter deadline of this caller says nothing about the peer.
            if outcome.is_err() && allowed >= self.upstream_timeout {
                self.timed_out(sent, pool.generation);
            }
            (outcome, OPENED.with(|opened| opened.connection.get()))
        });
        let (outcome, opened) = exchange.await;
        let outcome = outcome.unwrap_or_else(|_| {
            Err(failure(FailureKind::Timeout, format_args!("no complete response within {allowed:?}")))
        });
        let label = outcome.as_ref().map_or_else(|error| error.kind.name(), |_| SUCCESS);
        let connection = CONNECTIONS[usize::from(!opened)];
        self.outcomes.with_label_values(&[label, connection]).inc();
        if let Err(error) = &outcome {
            self.log.record(self.url.as_str(), error);
        }
        outcome
    }

    /// Waits until a connection to the backend can be established.
    pub(crate) async fn reached(&self) {
        let mut reported = false;
        loop {
            let error = match timeout(PROBE_INTERVAL, self.probe()).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error,
                Err(_) => format!("no connection within {PROBE_INTERVAL:?}"),
            };
            if !std::mem::replace(&mut reported, true) {
                tracing::warn!(target = %self.url, error, "HTTP backend is not reachable yet");
            }
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    }

    async fn probe(&self) -> Result<(), String> {
        let port = self.url.port_or_known_default().expect("an http:// URL has a port");
        let addresses = match self.url.host().expect("an http:// URL has a host") {
            Host::Domain(name) => self.resolver.addresses(name).await.map_err(|error| error.to_string())?,
            Host::Ipv4(address) => vec![address.into()],
            Host::Ipv6(address) => vec![address.into()],
        };
        let addresses: Vec<_> = addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect();
        TcpStream::connect(&addresses[..]).await.map(drop).map_err(|error| error.to_string())
    }

    fn pool(&self) -> PooledClient {
        self.pool.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes the idle connections of this generation.
    fn replace_pool(&self, generation: u64) {
        let mut pool = self.pool.write().unwrap_or_else(PoisonError::into_inner);
        if pool.generation == generation
            && let Ok(client) = client(&self.resolver, self.upstream_timeout)
        {
            *pool = PooledClient { client, generation: generation + 1 };
        }
    }

    /// Closes the idle connections, and avoids the peer of the current request, which was sent at `sent`.
    fn timed_out(&self, sent: Instant, generation: u64) {
        self.replace_pool(generation);
        match OPENED.with(|opened| opened.address.get()) {
            Some(address) => self.resolver.avoid(address),
            None => self.peers.silent_since(sent).into_iter().for_each(|peer| self.resolver.avoid(peer)),
        }
    }

    async fn exchange(
        &self,
        pool: &PooledClient,
        name: &str,
        headers: HeaderMap,
    ) -> Result<Map<String, Value>, UpstreamError> {
        let mut url = self.url.clone();
        url.query_pairs_mut().append_pair("name", name);
        let send = |client: &Client| client.get(url.clone()).headers(headers.clone()).send();
        let sent = match send(&pool.client).await {
            // A pod may close an idle connection while a request is sent on it. GET is idempotent, so it may be sent
            // again (RFC 9110, section 9.2.2). After a failure on a new connection it is not, because the request may
            // have caused the failure.
            Err(error)
                if closed_before_response(&error) && !OPENED.with(|opened| opened.connection.get()) =>
            {
                self.retries.inc();
                // The pod has probably closed its other connections too.
                self.replace_pool(pool.generation);
                send(&self.pool().client).await
            }
            sent => sent,
        };
        let mut response = sent.map_err(|error| request_failed(&error))?;
        if let Some(peer) = response.remote_addr() {
            self.peers.responded(peer.ip());
            OPENED.with(|opened| opened.address.set(Some(peer.ip())));
        }
        if !response.status().is_success() {
            // Reads only the first chunk, because the body may be endless.
            let text = response.chunk().await.ok().flatten().unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            return Err(failure(FailureKind::ErrorStatus, format_args!("{}: {text}", response.status())));
        }
        let body = read(&mut response).await?;
        serde_json::from_slice(&body).map_err(|error| {
            failure(FailureKind::InvalidResponse, format_args!("not a JSON object: {error}"))
        })
    }
}

/// Reads the body; fails if it exceeds [`MAX_RESPONSE_BYTES`].
async fn read(response: &mut Response) -> Result<Vec<u8>, UpstreamError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| {
        failure(FailureKind::InvalidResponse, format_args!("response ended early: {}", root_cause(&error)))
    })? {
        if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
            let detail = format_args!("response is longer than {MAX_RESPONSE_BYTES} bytes");
            return Err(failure(FailureKind::InvalidResponse, detail));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
