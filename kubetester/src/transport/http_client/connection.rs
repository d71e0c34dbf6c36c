//! One HTTP connection: hyper's client over TCP or TLS.

use std::{error::Error as _, fmt, net::SocketAddr};

use bytes::{Bytes, BytesMut};
use http::{
    Request, Response, Uri,
    header::HOST,
    uri::{Authority, Scheme},
};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    target::Endpoint,
    transport::{cause, http_client::HTTP2, tls::TlsClient},
};

/// The number of bytes of a body that are kept; the rest is read and dropped.
const MAX_KEPT_BODY: usize = 64 * 1024;

/// A connection that carries one request at a time.
pub(super) struct Connection {
    requests: Requests,
    /// Reads and writes the socket. Dropping the handle closes the connection.
    _driver: AbortOnDropHandle<hyper::Result<()>>,
    peer: SocketAddr,
}

/// The two versions of HTTP.
enum Requests {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2 { requests: http2::SendRequest<Full<Bytes>>, scheme: Scheme },
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
    http2: bool,
    peer: SocketAddr,
}

// === impl Connection ===

impl Connection {
    /// Connects to the first address of the host that accepts a connection, in the resolver's order.
    ///
    /// # Errors
    ///
    /// A sentence, if the name cannot be resolved or no connection can be made.
    pub(super) async fn connect(
        endpoint: &Endpoint,
        tls: Option<&TlsClient>,
        http2: bool,
    ) -> Result<Self, String> {
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
            None if http2 => Self::start_http2(stream, peer, Scheme::HTTP).await,
            None => Self::start(stream, peer).await,
            Some(tls) => {
                let stream = tls.handshake(stream, &peer.to_string()).await?;
                match stream.get_ref().1.alpn_protocol() {
                    Some(HTTP2) => Self::start_http2(stream, peer, Scheme::HTTPS).await,
                    _ => Self::start(stream, peer).await,
                }
            }
        }
    }

    async fn start(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        peer: SocketAddr,
    ) -> Result<Self, String> {
        let (requests, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| format!("{peer}: {error}"))?;
        Ok(Self {
            requests: Requests::Http1(requests),
            _driver: AbortOnDropHandle::new(tokio::spawn(connection)),
            peer,
        })
    }

    async fn start_http2(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        peer: SocketAddr,
        scheme: Scheme,
    ) -> Result<Self, String> {
        let (requests, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|error| format!("{peer}: {error}"))?;
        let requests = Requests::Http2 { requests, scheme };
        Ok(Self { requests, _driver: AbortOnDropHandle::new(tokio::spawn(connection)), peer })
    }

    /// Returns the address of the server.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Waits until the connection can carry another request. Returns false if it has ended.
    pub(super) async fn is_open(&mut self) -> bool {
        match &mut self.requests {
            Requests::Http1(requests) => requests.ready().await.is_ok(),
            Requests::Http2 { requests, .. } => requests.ready().await.is_ok(),
        }
    }

    /// Sends a request and reads the response to its end. The body is cut after [`MAX_KEPT_BODY`] bytes.
    ///
    /// # Errors
    ///
    /// If the connection ends before the response is complete, or the response is not HTTP.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, ExchangeError> {
        let Self { requests, peer, .. } = self;
        let http2 = matches!(requests, Requests::Http2 { .. });
        let failed = |error, begun| ExchangeError { error, begun, http2, peer: *peer };
        let response = match requests {
            Requests::Http1(requests) => requests.send_request(request).await,
            Requests::Http2 { requests, scheme } => {
                requests.send_request(with_authority(request, scheme)).await
            }
        };
        let response = response.map_err(|error| failed(error, false))?;
        let (mut head, body) = response.into_parts();
        let (body, size) = read(body).await.map_err(|error| failed(error, true))?;
        head.extensions.insert(size);
        Ok(Response::from_parts(head, body))
    }
}

/// Moves the header `host` into the URI, as HTTP/2 has it.
fn with_authority(mut request: Request<Full<Bytes>>, scheme: &Scheme) -> Request<Full<Bytes>> {
    let host = request.headers_mut().remove(HOST);
    let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    if let (Some(authority), Some(path)) = (authority, request.uri().path_and_query()) {
        let uri = Uri::builder().scheme(scheme.clone()).authority(authority).path_and_query(path.clone());
        if let Ok(uri) = uri.build() {
            *request.uri_mut() = uri;
        }
    }
    request
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
        let Self { error, peer, http2, .. } = self;
        if let Some(error) = cause::io_source(error) {
            return f.write_str(&cause::of_io(error, &peer.to_string()));
        }
        let root = cause::root(error);
        if *http2 {
            return write!(
                f,
                "HTTP/2 with {peer} failed: {root}; does it speak HTTP/2 without TLS or an upgrade?"
            );
        }
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
