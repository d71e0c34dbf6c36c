//! One HTTP/1.1 connection: how it is opened, an exchange on it, and why one broke.

use std::{
    error::Error as _,
    fmt,
    future::poll_fn,
    net::SocketAddr,
    pin::{Pin, pin},
    task::Poll,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};

use crate::{
    target::Endpoint,
    transport::{cause, tls::Encrypt},
};

/// As much of a body is looked at; the rest is read and forgotten.
const MOST_EVIDENCE: usize = 64 * 1024;

/// The number of turns that an exchange and its connection take before they yield.
const ROUNDS: usize = 2;

/// A connection that can be asked, one request at a time.
///
/// Whoever asks also drives it: an exchange needs no other task, between which it would have to go to and fro.
pub(super) struct Connection {
    requests: SendRequest<Empty<Bytes>>,
    /// Reads and writes. None once the connection has ended.
    driver: Option<Driver>,
    peer: SocketAddr,
}

type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// A complete response.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The first [`MOST_EVIDENCE`] bytes.
    pub(super) body: Bytes,
}

/// Why an exchange came to nothing; printed, it is a sentence.
#[derive(Debug)]
pub(super) struct Broken {
    error: hyper::Error,
    /// True if the answer had begun.
    begun: bool,
    peer: SocketAddr,
}

// === impl Connection ===

impl Connection {
    /// Tries the addresses of the host in the order that the system gives them.
    pub(super) async fn open(endpoint: &Endpoint, tls: Option<&Encrypt>) -> Result<Self, String> {
        let Endpoint { host, port, .. } = endpoint;
        let addresses = lookup_host((host.as_str(), *port)).await;
        let addresses = addresses.map_err(|error| format!("{host} cannot be resolved: {error}"))?;
        let mut why = format!("{host} has no address");
        for peer in addresses {
            match TcpStream::connect(peer).await {
                Ok(stream) => return Self::over(stream, peer, tls).await,
                Err(error) => why = cause::of_io(&error, &peer.to_string()),
            }
        }
        Err(why)
    }

    async fn over(stream: TcpStream, peer: SocketAddr, tls: Option<&Encrypt>) -> Result<Self, String> {
        // A connection that cannot be told not to wait still works.
        drop(stream.set_nodelay(true));
        match tls {
            None => speak(stream, peer).await,
            Some(tls) => speak(tls.shake(stream, &peer.to_string()).await?, peer).await,
        }
    }

    /// The other end.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Returns whether another request can be sent, as far as is known here.
    pub(super) async fn is_open(&mut self) -> bool {
        let Self { requests, driver, .. } = self;
        driven(driver, requests.ready()).await.is_ok()
    }

    /// Asks, and reads the answer to its end.
    pub(super) async fn exchange(&mut self, request: Request<Empty<Bytes>>) -> Result<Answer, Broken> {
        let Self { requests, driver, peer } = self;
        let broken = |error, begun| Broken { error, begun, peer: *peer };
        let exchange = async {
            let answer = requests.send_request(request).await.map_err(|error| broken(error, false))?;
            let (head, mut body) = answer.into_parts();
            let body = read(&mut body).await.map_err(|error| broken(error, true))?;
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        driven(driver, exchange).await
    }
}

/// Waits for what needs the connection to be driven meanwhile.
async fn driven<T>(driver: &mut Option<Driver>, wanted: impl Future<Output = T>) -> T {
    let mut wanted = pin!(wanted);
    poll_fn(|context| {
        // In each round one side hands the other what it waits for: the request, the head, that the body is wanted,
        // the body. More rounds than it takes find nothing to do; with fewer, they wake each other to go on.
        for _ in 0..ROUNDS {
            if let Poll::Ready(got) = wanted.as_mut().poll(context) {
                return Poll::Ready(got);
            }
            if driver.as_mut().is_some_and(|driver| driver.as_mut().poll(context).is_ready()) {
                // Its errors reach the caller with the request they broke.
                *driver = None;
            }
        }
        wanted.as_mut().poll(context)
    })
    .await
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: SocketAddr,
) -> Result<Connection, String> {
    let (requests, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    Ok(Connection { requests, driver: Some(Box::pin(connection)), peer })
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

// === impl Broken ===

impl Broken {
    /// Returns whether the server closed the connection before it can have worked on the request.
    pub(super) fn is_stale(&self) -> bool {
        let Self { error, begun, .. } = self;
        let closed = || error.is_canceled() || error.is_closed() || error.is_incomplete_message();
        !begun && (closed() || cause::io_source(error).is_some())
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { error, peer, .. } = self;
        if let Some(error) = cause::io_source(error) {
            return f.write_str(&cause::of_io(error, &peer.to_string()));
        }
        let root = cause::root(error);
        if error.is_parse_too_large() {
            return write!(f, "{peer} answers with a head that is larger than any honest one");
        }
        if error.is_parse() {
            return write!(f, "{peer} does not answer in HTTP/1.1 ({root}); does it speak TLS or HTTP/2?");
        }
        if error.is_canceled() || error.is_closed() {
            return write!(f, "{peer} ended the connection before it was asked; does it speak HTTP/1.1?");
        }
        if error.is_incomplete_message() {
            return write!(f, "{peer} closed the connection before the answer was whole");
        }
        match error.source() {
            Some(_) => write!(f, "{peer}: {root}"),
            None => write!(f, "{peer}: {error}"),
        }
    }
}
