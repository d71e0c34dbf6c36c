//! HTTP/1.1: each caller has a connection of its own, keeps it alive, and makes a new one when it ends.

mod connection;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, StatusCode, Uri,
    header::{HOST, USER_AGENT},
};
use http_body_util::Empty;
use serde_json::Value;
use tokio::time::timeout;
use url::form_urlencoded;

use self::connection::{Answer, Connection};
use super::{Greeted, Setup, Unreachable, tls::Encrypt};
use crate::{
    engine::Outcome,
    pod_name::{Evidence, PodFrom},
    target::Endpoint,
};

/// The name of HTTP/1.1 in a TLS handshake.
const ALPN: &[u8] = b"http/1.1";

/// The state that all callers of one target share.
pub(super) struct Server(Arc<Shared>);

struct Shared {
    endpoint: Endpoint,
    path: Uri,
    headers: HeaderMap,
    pod_from: PodFrom,
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
            Unreachable::Usage(format!("{:?} cannot be asked for: {error}", endpoint.path))
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
        let tls = match endpoint.tls {
            true => Some(setup.tls.encrypt(&endpoint.host, ALPN)?),
            false => None,
        };
        let shared = Shared { endpoint, path, headers, pod_from: setup.pod_from, tls };

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
        Connection::open(&self.endpoint, self.tls.as_ref()).await
    }

    /// Asks over a new connection.
    async fn ask(&self, path: &Uri) -> Result<(Answer, Connection), String> {
        let mut connection = self.connect().await?;
        let answer = connection.exchange(self.request(path)).await;
        Ok((answer.map_err(|broken| broken.to_string())?, connection))
    }

    fn request(&self, path: &Uri) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = path.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

// === impl Caller ===

impl Caller {
    pub(super) async fn call(&mut self) -> Outcome {
        let shared = self.shared.clone();
        match self.ask(&shared.path).await {
            Ok((answer, peer)) => self.judge(&answer, peer),
            Err(error) => Outcome { pod: None, error: Some(error) },
        }
    }

    /// The body of the answer, if it is a success.
    pub(super) async fn fetch(&mut self) -> Result<Bytes, String> {
        let shared = self.shared.clone();
        let (answer, peer) = self.ask(&shared.path).await?;
        self.judge(&answer, peer).error.map_or(Ok(answer.body), Err)
    }

    /// Calls with a name, `?name=`, and reads the answer as a gateway's or a backend's of this system.
    pub(super) async fn greet(&mut self, name: &str) -> Result<Greeted, String> {
        let query: String =
            form_urlencoded::Serializer::new(String::new()).append_pair("name", name).finish();
        let path = self.shared.path.to_string();
        let path = format!("{path}{}{query}", if path.contains('?') { '&' } else { '?' });
        let path = path.parse().map_err(|error| format!("{path:?} cannot be asked for: {error}"))?;
        let (answer, peer) = self.ask(&path).await?;
        let Outcome { pod, error } = self.judge(&answer, peer);
        if let Some(error) = error {
            return Err(error);
        }
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let text =
            |value: &Value, field| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Greeted {
            name: text(&body, "name"),
            version: text(body.get("response").unwrap_or(&body), "version"),
            hostname: pod.unwrap_or_default(),
            said: None,
            peer: Some(peer),
        })
    }

    /// Asks once. A connection that was kept alive may have been closed meanwhile: then, and only then, the
    /// request goes out again on a new one (RFC 9112, section 9.3.1).
    async fn ask(&mut self, path: &Uri) -> Result<(Answer, SocketAddr), String> {
        // Taken, so that a call given up in the middle does not leave its connection to the next one.
        let kept = match self.connection.take() {
            Some(mut kept) => kept.is_open().await.then_some(kept),
            None => None,
        };
        let (answer, connection) = match kept {
            Some(mut kept) => match kept.exchange(self.shared.request(path)).await {
                Ok(answer) => (answer, kept),
                Err(broken) if broken.is_stale() => self.shared.ask(path).await?,
                Err(broken) => return Err(broken.to_string()),
            },
            None => self.shared.ask(path).await?,
        };
        let peer = connection.peer();
        self.connection = Some(connection);
        Ok((answer, peer))
    }

    fn judge(&self, answer: &Answer, peer: SocketAddr) -> Outcome {
        let Answer { status, headers, body } = answer;
        let evidence = Evidence { headers, trailers: None, body, peer: Some(peer) };
        let pod = self.shared.pod_from.find(evidence);
        let error = match status.as_u16() {
            200..=299 => None,
            300..=399 => Some(format!("HTTP {} is a redirect, which is not followed", status.as_u16())),
            _ => Some(refusal(*status, body)),
        };
        Outcome { pod, error }
    }
}

/// An error status in words: the title of a problem (RFC 9457), or the status' own.
fn refusal(status: StatusCode, body: &[u8]) -> String {
    let problem = serde_json::from_slice::<Value>(body).ok();
    let title = problem.as_ref().and_then(|problem| problem.get("title")).and_then(Value::as_str);
    let detail = problem.as_ref().and_then(|problem| problem.get("detail")).and_then(Value::as_str);
    match (title, detail) {
        (Some(title), Some(detail)) => format!("HTTP {} {title}: {detail}", status.as_u16()),
        (Some(title), None) => format!("HTTP {} {title}", status.as_u16()),
        _ => format!("HTTP {status}"),
    }
}
