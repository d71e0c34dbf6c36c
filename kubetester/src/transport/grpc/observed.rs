//! A client that observes responses before tonic sees them: their peers, whether they are gRPC responses, and whether
//! their headers and trailers are within the limit.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use balanced_channel::{
    ResponseBody, foreign_response_status, header_list_size, unsupported_encoding_status,
};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use tonic::{
    Status,
    body::Body,
    codegen::{Body as HttpBody, StdError},
};
use tower::Service;

/// The peer of a response, if its transport knows it.
pub(super) trait PeerOf {
    fn peer_of(&self) -> Option<SocketAddr>;
}

/// Observes the responses to one caller, which makes one call at a time.
#[derive(Clone)]
pub(super) struct Observed<S> {
    inner: S,
    last: LastResponse,
    max_header_list_size: u32,
}

/// The response to the last call, shared between a caller and its [`Observed`] client.
#[derive(Clone, Default)]
pub(super) struct LastResponse(Arc<Mutex<Observation>>);

/// The part of a response that has arrived.
#[derive(Debug, Clone, Default)]
pub(super) struct Observation {
    /// The endpoint of a balanced channel that sent the response.
    pub(super) peer: Option<SocketAddr>,
    /// True if the response has a gRPC status, so that an error is the server's own.
    pub(super) complete: bool,
}

// === impl LastResponse ===

impl LastResponse {
    fn lock(&self) -> MutexGuard<'_, Observation> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the part of the response that has arrived.
    pub(super) fn get(&self) -> Observation {
        self.lock().clone()
    }
}

// === impl Observed ===

impl<S> Observed<S> {
    pub(super) fn new(inner: S, last: LastResponse, max_header_list_size: u32) -> Self {
        Self { inner, last, max_header_list_size }
    }
}

/// Returns the status of headers or trailers above the limit.
fn too_large(part: &str, headers: &HeaderMap, limit: u32) -> Option<Status> {
    let size = header_list_size(headers);
    (size > limit as usize).then(|| {
        let sentence = format!("the {part} of the response have {size} bytes, more than the {limit} of");
        Status::resource_exhausted(format!("{sentence} --max-header-list-size"))
    })
}

impl<S, B> Service<Request<Body>> for Observed<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<StdError>, Future: Send + 'static>,
    B: HttpBody<Data = Bytes, Error: Into<StdError>> + PeerOf + Send + 'static,
{
    type Response = Response<Body>;
    type Error = StdError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, StdError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        *self.last.lock() = Observation::default();
        let (response, last) = (self.inner.call(request), self.last.clone());
        let limit = self.max_header_list_size;
        Box::pin(async move {
            let mut response = response.await.map_err(Into::into)?;
            let foreign = foreign_response_status(&response);
            // Trailers-Only: the headers have the status.
            let trailers_only = response.headers().contains_key(Status::GRPC_STATUS);
            let peer = response.body().peer_of();
            if let Some(status) = too_large("headers", response.headers(), limit) {
                *last.lock() = Observation { peer, complete: false };
                return Err(status.into());
            }
            *last.lock() = Observation { peer, complete: foreign.is_some() || trailers_only };
            if let Some(status) = foreign.or_else(|| unsupported_encoding_status(&response)) {
                return Err(status.into());
            }
            if trailers_only {
                // tonic would reject the encoding of messages that are not there.
                response.headers_mut().remove("grpc-encoding");
            }
            Ok(response.map(|body| {
                Body::new(body.map_frame(move |mut frame| {
                    if let Some(trailers) = frame.trailers_mut() {
                        match too_large("trailers", trailers, limit) {
                            Some(status) => {
                                trailers.clear();
                                // The status can be encoded: its message is ASCII.
                                drop(status.add_header(trailers));
                            }
                            None => last.lock().complete = true,
                        }
                    }
                    frame
                }))
            }))
        })
    }
}

// === impl PeerOf ===

impl PeerOf for ResponseBody {
    fn peer_of(&self) -> Option<SocketAddr> {
        Some(self.peer())
    }
}

impl PeerOf for Body {
    fn peer_of(&self) -> Option<SocketAddr> {
        None
    }
}
