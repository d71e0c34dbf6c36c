//! Limits the requests in flight. There is no queue: under overload, waiting only makes every response late.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes};
use http::Extensions;
use http_body::{Frame, SizeHint};
use prometheus::IntCounter;
use service::{
    Metrics,
    http::{InFlightLimit, RequestKind},
};

use crate::config::Config;

/// Bytes of a response that are handed to the connection at a time.
const PART: usize = 4096;

/// Counts the requests in flight against a limit.
#[derive(Debug)]
pub(crate) struct Admission {
    in_flight: InFlightLimit,
    limit: usize,
    shed: IntCounter,
}

/// The right to be in flight, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(service::http::Permit);

/// The limit on requests in flight is reached.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("gateway is at its limit of {limit} requests in flight; retry after a second")]
pub(crate) struct Overloaded {
    limit: usize,
}

/// A response that is in flight until the client accepts its last part. HTTP/2 takes a whole part for each byte that the
/// client accepts, so a response in one part would leave the limit while it is still in memory.
struct AdmittedBody {
    rest: Bytes,
    #[expect(dead_code, reason = "held for its drop")]
    permit: service::http::Permit,
}

// === impl Admission ===

impl Admission {
    /// Admits the requests that `config` allows. Counts the others in `helloserve_shed_requests_total`.
    pub(crate) fn new(config: &Config, metrics: &Metrics) -> Self {
        let shed = IntCounter::new(
            "helloserve_shed_requests_total",
            "Requests answered 503 because MAX_CONCURRENT_REQUESTS were in flight.",
        )
        .expect("the name is valid");
        metrics.register(shed.clone());
        let limit = config.max_concurrent_requests.get();
        let connections = config.connections.max_connections.get();
        Self { in_flight: InFlightLimit::new(RequestKind::Unary, limit, connections), limit, shed }
    }

    pub(crate) fn try_acquire(&self, extensions: &Extensions) -> Result<Permit, Overloaded> {
        self.in_flight.try_acquire(extensions).map(Permit).ok_or_else(|| {
            self.shed.inc();
            Overloaded { limit: self.limit }
        })
    }
}

// === impl Permit ===

impl Permit {
    /// Returns the body of the response to the request.
    pub(crate) fn body(self, bytes: Bytes) -> Body {
        Body::new(AdmittedBody { rest: bytes, permit: self.0 })
    }
}

// === impl AdmittedBody ===

impl http_body::Body for AdmittedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.rest.len().min(PART);
        let part = self.rest.split_to(length);
        Poll::Ready((length > 0).then(|| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
