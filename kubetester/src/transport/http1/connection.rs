//! One HTTP/1.1 connection: hyper's client over TCP or TLS.

use std::{error::Error as _, fmt, net::SocketAddr};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    target::Endpoint,
    transport::{cause, tls::Encrypt},
};

/// The number of bytes of a body that are kept; the rest is read and dropped.
const MAX_KEPT_BODY: usize = 64 * 1024;

/// A connection that carries one request at a time.
pub(super) struct Connection {
    requests: SendRequest<Full<Bytes>>,
    /// Reads and writes the socket. Dropping the handle closes the connection.
    _driver: AbortOnDropHandle<hyper::Result<()>>,
    peer: SocketAddr,
}

/// The length of a whole body, as an extension of the response that has the first bytes of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodySize(pub(super) u64);

/// The failure of an exchange; its text is a sentence that names the peer.
#[derive(Debug)]
pub(super) struct ExchangeError {
    error: hyper::Error,
    /// True if the response had begun.
    begun: bool,
    peer: SocketAddr,
}

// === impl Connection ===

impl Connection {
    /// Connects to the first address of the host that accepts a connection, in the resolver's order.
    ///
    /// # Errors
    ///
    /// A sentence, if the name cannot be resolved or no connection can be made.
    pub(super) async fn connect(endpoint: &Endpoint, tls: Option<&Encrypt>) -> Result<Self, String> {
        let Endpoint { host, port, .. } = endpoint;
        let addresses = lookup_host((host.as_str(), *port)).await;
        let addresses: Vec<_> =
            addresses.map_err(|error| format!("{host} cannot be resolved: {error}"))?.collect();
        let failed = |error| cause::of_io(&error, &endpoint.authority());
        let stream = TcpStream::connect(&addresses[..]).await.map_err(failed)?;
        let peer = stream.peer_addr().map_err(failed)?;
        // Without TCP_NODELAY the connection still works.
        drop(stream.set_nodelay(true));
        match tls {
            None => Self::start(stream, peer).await,
            Some(tls) => Self::start(tls.shake(stream, &peer.to_string()).await?, peer).await,
        }
    }

    async fn start(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        peer: SocketAddr,
    ) -> Result<Self, String> {
        let (requests, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| format!("{peer}: {error}"))?;
        Ok(Self { requests, _driver: AbortOnDropHandle::new(tokio::spawn(connection)), peer })
    }

    /// Returns the address of the server.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Waits until the connection can carry another request. Returns false if it has ended.
    pub(super) async fn is_open(&mut self) -> bool {
        self.requests.ready().await.is_ok()
    }

    /// Sends a request and reads the response to its end. The body is cut after [`MAX_KEPT_BODY`] bytes.
    ///
    /// # Errors
    ///
    /// If the connection ends before the response is complete, or the response is not HTTP/1.1.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, ExchangeError> {
        let Self { requests, peer, .. } = self;
        let failed = |error, begun| ExchangeError { error, begun, peer: *peer };
        let response = requests.send_request(request).await.map_err(|error| failed(error, false))?;
        let (mut head, body) = response.into_parts();
        let (body, size) = read(body).await.map_err(|error| failed(error, true))?;
        head.extensions.insert(size);
        Ok(Response::from_parts(head, body))
    }
}

async fn read(mut body: Incoming) -> Result<(Bytes, BodySize), hyper::Error> {
    let mut kept = BytesMut::new();
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            size += data.len() as u64;
            let free = MAX_KEPT_BODY - kept.len();
            kept.extend_from_slice(&data[..data.len().min(free)]);
        }
    }
    Ok((kept.freeze(), BodySize(size)))
}

// === impl ExchangeError ===

impl ExchangeError {
    /// Returns whether the server closed the connection before it can have acted on the request.
    pub(super) fn is_stale(&self) -> bool {
        let Self { error, begun, .. } = self;
        let closed = || error.is_canceled() || error.is_closed() || error.is_incomplete_message();
        !begun && (closed() || cause::io_source(error).is_some())
    }
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { error, peer, .. } = self;
        if let Some(error) = cause::io_source(error) {
            return f.write_str(&cause::of_io(error, &peer.to_string()));
        }
        let root = cause::root(error);
        if error.is_parse_too_large() {
            return write!(f, "{peer} sent a response head that is too large");
        }
        if error.is_parse() {
            return write!(f, "{peer} does not answer in HTTP/1.1 ({root}); does it speak TLS or HTTP/2?");
        }
        if error.is_canceled() || error.is_closed() {
            return write!(
                f,
                "{peer} closed the connection before the request was sent; does it speak HTTP/1.1?"
            );
        }
        if error.is_incomplete_message() {
            return write!(f, "{peer} closed the connection before the response was complete");
        }
        match error.source() {
            Some(_) => write!(f, "{peer}: {root}"),
            None => write!(f, "{peer}: {error}"),
        }
    }
}
