//! HTTP: each caller has a connection of its own, keeps it alive, and makes a new one when it ends.

mod connection;
mod options;
mod redirect;
mod response;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, Uri,
    header::{CONTENT_TYPE, HOST, USER_AGENT},
};
use tokio::time::timeout;
use url::form_urlencoded;

pub use self::options::HttpOptions;
use self::{
    connection::Connection,
    redirect::{Hop, MAX_REDIRECTS},
    response::{content, describe_status},
};
use super::{
    Setup, Tls, Unreachable,
    reply::{CallError, Reply},
    tls::TlsClient,
};
use crate::{
    engine::Outcome,
    pod_name::{self, KnownPlaces, Pod, PodFrom, PodSource, ResponseParts, SeenHeaders},
    target::Endpoint,
};

/// The names of HTTP/1.1 and HTTP/2 in a TLS handshake.
const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// The state that all callers of one target share.
pub(super) struct HttpTransport(Arc<Shared>);

struct Shared {
    /// The request to the target.
    first: Hop,
    path: Uri,
    pod_from: PodFrom,
    known: KnownPlaces,
    seen_headers: SeenHeaders,
    tls: Option<TlsClient>,
    tls_options: Tls,
    http: HttpOptions,
}

/// One caller and its connection.
pub struct Caller {
    shared: Arc<Shared>,
    connection: Option<Connection>,
}

// === impl HttpTransport ===

impl HttpTransport {
    pub(super) async fn connect(
        endpoint: Endpoint,
        setup: Setup,
        time_limit: Option<Duration>,
    ) -> Result<Self, Unreachable> {
        let path = endpoint.path.parse().map_err(|error| {
            Unreachable::Usage(format!("{:?} is no path of a URL: {error}", endpoint.path))
        })?;
        let mut headers = setup.headers;
        if !headers.contains_key(HOST) {
            headers.insert(HOST, redirect::host(&endpoint).map_err(Unreachable::Usage)?);
        }
        headers
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!("kubetester/", env!("CARGO_PKG_VERSION"))));
        let body = setup.method.data.map(Bytes::from);
        if let Some(body) = &body {
            let kind = match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
                Ok(_) => "application/json",
                Err(_) => "text/plain; charset=utf-8",
            };
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(kind));
        }
        let default = if body.is_some() { Method::POST } else { Method::GET };
        let method = setup.request.unwrap_or(default);
        let body = body.unwrap_or_default();
        let tls = tls_client(&endpoint, &setup.tls, setup.http)?;
        let shared = Shared {
            first: Hop { endpoint, method, headers, body },
            path,
            pod_from: setup.pod_from,
            known: KnownPlaces::new(false),
            seen_headers: SeenHeaders::default(),
            tls,
            tls_options: setup.tls,
            http: setup.http,
        };

        if let Some(time_limit) = time_limit {
            let connected = timeout(time_limit, shared.connect()).await;
            let none = || Err(format!("no connection within {}", humantime::format_duration(time_limit)));
            if let Err(why) = connected.unwrap_or_else(|_| none()) {
                return Err(Unreachable::Peer { target: shared.first.endpoint.root("http"), why });
            }
        }
        Ok(Self(Arc::new(shared)))
    }

    /// Returns the headers of an answer without the header of `--pod-from`.
    pub(super) fn seen_headers(&self) -> Vec<String> {
        self.0.seen_headers.names()
    }

    pub(super) fn caller(&self) -> Caller {
        Caller { shared: self.0.clone(), connection: None }
    }
}

/// Returns the TLS client for an endpoint, if it uses TLS.
fn tls_client(endpoint: &Endpoint, tls: &Tls, http: HttpOptions) -> Result<Option<TlsClient>, Unreachable> {
    let protocols = if http.http2 { &[HTTP2, HTTP1][..] } else { &[HTTP1] };
    endpoint.tls.then(|| tls.client(&endpoint.host, protocols)).transpose()
}

// === impl Shared ===

impl Shared {
    async fn connect(&self) -> Result<Connection, String> {
        Connection::connect(&self.first.endpoint, self.tls.as_ref(), self.http.http2).await
    }

    /// Connects to the endpoint of a redirect.
    async fn connect_to(&self, endpoint: &Endpoint) -> Result<Connection, String> {
        let tls = tls_client(endpoint, &self.tls_options, self.http).map_err(|error| error.to_string())?;
        Connection::connect(endpoint, tls.as_ref(), self.http.http2).await
    }
}

/// Sends a request.
async fn exchange(
    mut connection: Connection,
    hop: &Hop,
    path: &Uri,
) -> Result<(Response<Bytes>, Connection), String> {
    let response = connection.exchange(hop.request(path)).await;
    Ok((response.map_err(|error| error.to_string())?, connection))
}

// === impl Caller ===

impl Caller {
    pub(super) async fn call(&mut self) -> Outcome {
        let shared = self.shared.clone();
        match self.send(&shared.path).await {
            Ok((response, peer)) => self.outcome(&response, peer),
            Err(error) => Outcome { error: Some(error), ..Outcome::default() },
        }
    }

    /// Returns the body of a successful response.
    ///
    /// # Errors
    ///
    /// A sentence, for a call that fails and for any other response.
    pub(super) async fn fetch(&mut self) -> Result<Bytes, String> {
        let shared = self.shared.clone();
        let (response, peer) = self.send(&shared.path).await?;
        match self.outcome(&response, peer).error {
            None => Ok(response.into_body()),
            Some(error) => Err(error),
        }
    }

    /// Calls with a name, `?name=`, and returns what the server responded.
    pub(super) async fn reply(&mut self, name: &str) -> Result<Reply, CallError> {
        let path = self.shared.path.to_string();
        let path = match name {
            "" => path,
            _ => {
                let mut query = form_urlencoded::Serializer::new(String::new());
                let query = query.append_pair("name", name).finish();
                format!("{path}{}{query}", if path.contains('?') { '&' } else { '?' })
            }
        };
        let path = path
            .parse()
            .map_err(|error| CallError::Usage(format!("{path:?} is no path of a URL: {error}")))?;
        let (response, peer) = self.send(&path).await.map_err(CallError::NoReply)?;
        let error = self.outcome(&response, peer).error;
        let pod = self.pod(&response, peer);
        let content = content(&response, error);
        let headers = response.headers().clone();
        Ok(Reply { content, pod, peer: Some(peer), headers, trailers: HeaderMap::new() })
    }

    /// Returns where the names of pods are from, once a response has decided that.
    pub(super) fn pod_source(&self) -> Option<PodSource> {
        match self.shared.pod_from {
            PodFrom::Known => self.shared.known.source(),
            _ => Some(PodSource::Configured),
        }
    }

    /// Sends a request, and follows redirects with `--location`.
    async fn send(&mut self, path: &Uri) -> Result<(Response<Bytes>, SocketAddr), String> {
        let shared = self.shared.clone();
        let (mut response, mut peer) = self.send_first(path).await?;
        if !shared.http.location {
            return Ok((response, peer));
        }
        let (mut hop, mut path) = (shared.first.clone(), path.clone());
        for _ in 0..MAX_REDIRECTS {
            let Some(next) = hop.next(&path, &response)? else { return Ok((response, peer)) };
            (hop, path) = next;
            let connection;
            (response, connection) = exchange(self.connection_to(&hop.endpoint).await?, &hop, &path).await?;
            peer = connection.peer();
            if hop.endpoint.root("http") == shared.first.endpoint.root("http") {
                self.keep(connection);
            }
        }
        match hop.next(&path, &response)? {
            None => Ok((response, peer)),
            Some(_) => Err(format!("more than {MAX_REDIRECTS} redirects")),
        }
    }

    /// Sends the request to the target. A kept connection may have been closed by the server in the meantime: then, and
    /// only then, the request is sent again over a new one, if its method allows that (RFC 9112, section 9.3.1).
    async fn send_first(&mut self, path: &Uri) -> Result<(Response<Bytes>, SocketAddr), String> {
        let shared = self.shared.clone();
        let hop = &shared.first;
        let (response, connection) = match self.kept().await {
            Some(mut kept) => match kept.exchange(hop.request(path)).await {
                Ok(response) => (response, kept),
                Err(error) if error.is_stale() && hop.method.is_idempotent() => {
                    exchange(shared.connect().await?, hop, path).await?
                }
                Err(error) => return Err(error.to_string()),
            },
            None => exchange(shared.connect().await?, hop, path).await?,
        };
        let peer = connection.peer();
        self.keep(connection);
        Ok((response, peer))
    }

    /// Returns a connection to the endpoint of a redirect.
    async fn connection_to(&mut self, endpoint: &Endpoint) -> Result<Connection, String> {
        if endpoint.root("http") != self.shared.first.endpoint.root("http") {
            return self.shared.connect_to(endpoint).await;
        }
        match self.kept().await {
            Some(kept) => Ok(kept),
            None => self.shared.connect().await,
        }
    }

    /// Takes the kept connection. If the call is dropped, the connection is closed with its pending response.
    async fn kept(&mut self) -> Option<Connection> {
        let mut kept = self.connection.take()?;
        kept.is_open().await.then_some(kept)
    }

    fn keep(&mut self, connection: Connection) {
        self.connection = (!self.shared.http.disable_keepalive).then_some(connection);
    }

    fn outcome(&self, response: &Response<Bytes>, peer: SocketAddr) -> Outcome {
        let (status, body) = (response.status(), response.body());
        let pod = self.pod(response, peer).map(|pod| pod.name);
        let error = match status.as_u16() {
            200..=299 => None,
            300..=399 if !self.shared.http.location => {
                Some(format!("HTTP {} is a redirect; follow it with --location", status.as_u16()))
            }
            _ => Some(describe_status(status, body)),
        };
        if pod.is_none() && error.is_none() {
            self.shared.seen_headers.record(&self.shared.pod_from, response.headers());
        }
        Outcome { pod, error, messages: None }
    }

    fn pod(&self, response: &Response<Bytes>, peer: SocketAddr) -> Option<Pod> {
        let Shared { pod_from, known, .. } = &*self.shared;
        let (headers, body) = (response.headers(), response.body());
        if matches!(pod_from, PodFrom::Known) {
            let in_body = || pod_name::known(body);
            return known.find(response.status().is_success(), in_body, headers, None);
        }
        let parts = ResponseParts { headers, trailers: None, body, peer: Some(peer) };
        pod_from.find(parts).map(|name| Pod { name, source: PodSource::Configured })
    }
}
