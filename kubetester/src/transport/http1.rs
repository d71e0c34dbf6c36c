//! HTTP/1.1: each caller has a connection of its own, keeps it alive, and makes a new one when it ends.

mod connection;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{CONTENT_TYPE, HOST, USER_AGENT},
};
use http_body_util::Full;
use serde_json::Value;
use tokio::time::timeout;
use url::form_urlencoded;

use self::connection::{BodySize, Connection};
use super::{
    Setup, Unreachable,
    reply::{CallError, Content, HttpContent, Reply},
    tls::Encrypt,
};
use crate::{
    engine::Outcome,
    pod_name::{self, Evidence, KnownPlaces, Pod, PodFrom, PodSource},
    target::Endpoint,
};

/// The name of HTTP/1.1 in a TLS handshake.
const ALPN: &[u8] = b"http/1.1";

/// The state that all callers of one target share.
pub(super) struct Server(Arc<Shared>);

struct Shared {
    endpoint: Endpoint,
    path: Uri,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
    pod_from: PodFrom,
    known: KnownPlaces,
    tls: Option<Encrypt>,
}

/// One caller and its connection.
pub struct Caller {
    shared: Arc<Shared>,
    connection: Option<Connection>,
}

// === impl Server ===

impl Server {
    pub(super) async fn reach(
        endpoint: Endpoint,
        setup: Setup,
        patience: Option<Duration>,
    ) -> Result<Self, Unreachable> {
        let path = endpoint.path.parse().map_err(|error| {
            Unreachable::Usage(format!("{:?} is no path of a URL: {error}", endpoint.path))
        })?;
        let authority = endpoint.authority();
        let mut headers = setup.headers;
        if !headers.contains_key(HOST) {
            let default = if endpoint.tls { ":443" } else { ":80" };
            let host = authority.strip_suffix(default).unwrap_or(&authority);
            let host = HeaderValue::from_str(host);
            let host =
                host.map_err(|_| Unreachable::Usage(format!("{authority:?} cannot be a Host header")))?;
            headers.insert(HOST, host);
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
        let tls = match endpoint.tls {
            true => Some(setup.tls.encrypt(&endpoint.host, ALPN)?),
            false => None,
        };
        let known = KnownPlaces::new(false);
        let shared = Shared { endpoint, path, method, headers, body, pod_from: setup.pod_from, known, tls };

        if let Some(patience) = patience {
            let connected = timeout(patience, shared.connect()).await;
            let none = || Err(format!("no connection within {}", humantime::format_duration(patience)));
            if let Err(why) = connected.unwrap_or_else(|_| none()) {
                return Err(Unreachable::Peer { target: shared.endpoint.root("http"), why });
            }
        }
        Ok(Self(Arc::new(shared)))
    }

    pub(super) fn caller(&self) -> Caller {
        Caller { shared: self.0.clone(), connection: None }
    }
}

// === impl Shared ===

impl Shared {
    async fn connect(&self) -> Result<Connection, String> {
        Connection::connect(&self.endpoint, self.tls.as_ref()).await
    }

    /// Sends a request over a new connection.
    async fn send(&self, path: &Uri) -> Result<(Response<Bytes>, Connection), String> {
        let mut connection = self.connect().await?;
        let response = connection.exchange(self.request(path)).await;
        Ok((response.map_err(|error| error.to_string())?, connection))
    }

    fn request(&self, path: &Uri) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = path.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
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

    /// Sends a request once. A kept connection may have been closed by the server in the meantime: then, and only
    /// then, the request is sent again over a new one, if its method allows that (RFC 9112, section 9.3.1).
    async fn send(&mut self, path: &Uri) -> Result<(Response<Bytes>, SocketAddr), String> {
        // Taken out, so that a call that is dropped closes its connection, which has a response under way.
        let kept = match self.connection.take() {
            Some(mut kept) => kept.is_open().await.then_some(kept),
            None => None,
        };
        let (response, connection) = match kept {
            Some(mut kept) => match kept.exchange(self.shared.request(path)).await {
                Ok(response) => (response, kept),
                Err(error) if error.is_stale() && self.shared.method.is_idempotent() => {
                    self.shared.send(path).await?
                }
                Err(error) => return Err(error.to_string()),
            },
            None => self.shared.send(path).await?,
        };
        let peer = connection.peer();
        self.connection = Some(connection);
        Ok((response, peer))
    }

    fn outcome(&self, response: &Response<Bytes>, peer: SocketAddr) -> Outcome {
        let (status, body) = (response.status(), response.body());
        let pod = self.pod(response, peer).map(|pod| pod.name);
        let error = match status.as_u16() {
            200..=299 => None,
            300..=399 => Some(format!("HTTP {} is a redirect, which is not followed", status.as_u16())),
            _ => Some(describe_status(status, body)),
        };
        Outcome { pod, error, messages: None }
    }

    fn pod(&self, response: &Response<Bytes>, peer: SocketAddr) -> Option<Pod> {
        let Shared { pod_from, known, .. } = &*self.shared;
        let (headers, body) = (response.headers(), response.body());
        if matches!(pod_from, PodFrom::Known) {
            let in_body = || pod_name::known(body);
            return known.find(response.status().is_success(), in_body, headers, None);
        }
        let evidence = Evidence { headers, trailers: None, body, peer: Some(peer) };
        pod_from.find(evidence).map(|name| Pod { name, source: PodSource::Configured })
    }
}

/// Describes a response for `kubetester call`; `error` is why it counts as failed.
fn content(response: &Response<Bytes>, error: Option<String>) -> Content {
    let (status, body) = (response.status(), response.body());
    let size = response.extensions().get().map_or(0, |BodySize(size)| *size);
    let http = HttpContent::new(status, response.headers(), size, body);
    if let Some(error) = error {
        let status = format!("HTTP {}", http.status);
        // A problem document says more than its beginning.
        let message = match error.strip_prefix(&status) {
            Some("") => http.body(),
            _ => error
                .strip_prefix(&format!("HTTP {} ", response.status().as_u16()))
                .unwrap_or(&error)
                .to_owned(),
        };
        return Content::Refused { status, message, unimplemented: false };
    }
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let inner = json.get("response").unwrap_or(&json);
    // What makes it a greeting of this system is that it names all three.
    if json.get("name").is_some() && inner.get("version").is_some() && inner.get("hostname").is_some() {
        let text =
            |value: &Value, field| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        return Content::Greeting { name: text(&json, "name"), version: text(inner, "version") };
    }
    Content::Http(http)
}

/// Describes an error status: the title and detail of a problem document (RFC 9457), or the status' own reason.
fn describe_status(status: StatusCode, body: &[u8]) -> String {
    let problem = serde_json::from_slice::<Value>(body).ok();
    let title = problem.as_ref().and_then(|problem| problem.get("title")).and_then(Value::as_str);
    let detail = problem.as_ref().and_then(|problem| problem.get("detail")).and_then(Value::as_str);
    match (title, detail) {
        (Some(title), Some(detail)) => format!("HTTP {} {title}: {detail}", status.as_u16()),
        (Some(title), None) => format!("HTTP {} {title}", status.as_u16()),
        _ => format!("HTTP {status}"),
    }
}
