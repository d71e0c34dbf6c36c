//! HTTP/1.1: each caller has a connection of its own, keeps it alive, and makes a new one when it ends.

use std::{error::Error as _, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, Request, StatusCode, Uri,
    header::{HOST, USER_AGENT},
};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};

use url::form_urlencoded;

use super::{
    Greeted, Setup, Unreachable, cause,
    tls::{self, Encrypt},
};
use crate::{
    answered::{Evidence, PodFrom},
    engine::Outcome,
    target::Endpoint,
};

/// The name of HTTP/1.1 in a TLS handshake.
const ALPN: &[u8] = b"http/1.1";

/// As much of a body is looked at; the rest is read and forgotten.
const MOST_EVIDENCE: usize = 64 * 1024;

/// What all callers of one target share.
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

struct Connection {
    requests: SendRequest<Empty<Bytes>>,
    peer: SocketAddr,
}

/// What came back, whole.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    /// The first [`MOST_EVIDENCE`] bytes.
    body: Bytes,
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
    /// Tries the addresses of the host in the order that the system gives them.
    async fn connect(&self) -> Result<Connection, String> {
        let Endpoint { host, port, .. } = &self.endpoint;
        let addresses = lookup_host((host.as_str(), *port)).await;
        let addresses = addresses.map_err(|error| format!("{host} cannot be resolved: {error}"))?;
        let mut why = format!("{host} has no address");
        for peer in addresses {
            match TcpStream::connect(peer).await {
                Ok(stream) => return self.secure(stream, peer).await,
                Err(error) => why = cause::of_io(&error, &peer.to_string()),
            }
        }
        Err(why)
    }

    async fn secure(&self, stream: TcpStream, peer: SocketAddr) -> Result<Connection, String> {
        // A connection that cannot be told not to wait still works.
        drop(stream.set_nodelay(true));
        match &self.tls {
            None => speak(stream, peer).await,
            Some(tls) => {
                let stream =
                    tls.shake(stream).await.map_err(|error| tls::refusal(&error, &peer.to_string()))?;
                speak(stream, peer).await
            }
        }
    }

    fn request(&self, path: &Uri) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = path.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: SocketAddr,
) -> Result<Connection, String> {
    let (requests, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        // Its errors reach the caller with the request they broke.
        drop(connection.await);
    });
    Ok(Connection { requests, peer })
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
            Some(mut kept) => kept.requests.ready().await.is_ok().then_some(kept),
            None => None,
        };
        let (answer, connection) = match kept {
            Some(mut kept) => match kept.exchange(self.shared.request(path)).await {
                Ok(answer) => (answer, kept),
                Err(error) if stale(&error) => self.ask_anew(path).await?,
                Err(error) => return Err(broken(&error, kept.peer)),
            },
            None => self.ask_anew(path).await?,
        };
        let peer = connection.peer;
        self.connection = Some(connection);
        Ok((answer, peer))
    }

    async fn ask_anew(&self, path: &Uri) -> Result<(Answer, Connection), String> {
        let mut connection = self.shared.connect().await?;
        let answer = connection.exchange(self.shared.request(path)).await;
        let answer = answer.map_err(|error| broken(&error, connection.peer))?;
        Ok((answer, connection))
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

// === impl Connection ===

impl Connection {
    async fn exchange(&mut self, request: Request<Empty<Bytes>>) -> Result<Answer, hyper::Error> {
        let (head, mut body) = self.requests.send_request(request).await?.into_parts();
        let body = read(&mut body).await?;
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}

async fn read(body: &mut Incoming) -> Result<Bytes, hyper::Error> {
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if first.is_empty() {
            // Nearly every answer comes in one piece, which need not be copied.
            first = data;
        } else if whole.len() < MOST_EVIDENCE {
            if whole.is_empty() {
                whole.extend_from_slice(&first);
            }
            whole.extend_from_slice(&data);
        }
    }
    let mut seen = if whole.is_empty() { first } else { whole.freeze() };
    seen.truncate(MOST_EVIDENCE);
    Ok(seen)
}

/// Whether the server closed the connection before it can have worked on the request.
fn stale(error: &hyper::Error) -> bool {
    let reset = || cause::io_source(error).is_some();
    error.is_canceled() || error.is_closed() || error.is_incomplete_message() || reset()
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

fn broken(error: &hyper::Error, peer: SocketAddr) -> String {
    if let Some(error) = cause::io_source(error) {
        return cause::of_io(error, &peer.to_string());
    }
    if error.is_parse() {
        return format!(
            "{peer} does not answer in HTTP/1.1 ({}); does it speak TLS or HTTP/2?",
            cause::root(error)
        );
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return format!("{peer} closed the connection before the answer was whole");
    }
    match error.source() {
        Some(_) => format!("{peer}: {}", cause::root(error)),
        None => format!("{peer}: {error}"),
    }
}
