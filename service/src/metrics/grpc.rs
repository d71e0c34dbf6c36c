//! Measures gRPC calls by method. The status of a call is in the trailers, after the body.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::requests::{InFlight, Names, RequestMetrics};

/// The label of calls to methods that the server does not have.
const UNKNOWN_METHOD: &str = "unknown";

/// The names of the status codes 0 to 16, spelled as in grpc-go's Prometheus metrics.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];
const CANCELED: &str = CODES[1];
const UNKNOWN: &str = CODES[2];

pub(super) const NAMES: Names = Names {
    handled: "grpc_server_handled_total",
    latency: "grpc_server_handling_seconds",
    in_flight: "grpc_server_in_flight",
    target: "grpc_method",
    status: "grpc_code",
};

/// The metrics of a gRPC server, and its methods.
#[derive(Clone, Debug)]
pub(crate) struct GrpcMetrics {
    requests: RequestMetrics,
    methods: Arc<HashSet<Arc<str>>>,
    unknown: Arc<str>,
}

/// The body of a response. The call ends with the trailers, or when the body is dropped.
struct MeasuredBody {
    inner: Body,
    in_flight: Option<InFlight>,
}

// === impl GrpcMetrics ===

impl GrpcMetrics {
    /// Creates the metrics for methods given as paths, e.g. `/hello.Hello/SayHello`.
    pub(super) fn new(requests: RequestMetrics, methods: impl IntoIterator<Item = String>) -> Self {
        let methods: HashSet<Arc<str>> =
            methods.into_iter().map(|path| path.trim_start_matches('/').into()).collect();
        for method in &methods {
            requests.create_gauge(method);
        }
        Self { requests, methods: Arc::new(methods), unknown: UNKNOWN_METHOD.into() }
    }

    fn start(&self, path: &str) -> InFlight {
        let method = self.methods.get(path.trim_start_matches('/')).unwrap_or(&self.unknown);
        self.requests.start(Arc::clone(method), CANCELED)
    }
}

/// Measures one call.
pub(crate) async fn measure(State(metrics): State<GrpcMetrics>, request: Request, next: Next) -> Response {
    let mut in_flight = metrics.start(request.uri().path());
    let response = next.run(request).await;
    // A call that failed before its first message has its status in the headers ("Trailers-Only").
    if let Some(code) = code(response.headers()) {
        in_flight.status = code.into();
    }
    response.map(|inner| Body::new(MeasuredBody { inner, in_flight: Some(in_flight) }))
}

// === impl MeasuredBody ===

impl http_body::Body for MeasuredBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        let status = match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                frame.trailers_ref().map(|trailers| code(trailers).unwrap_or(UNKNOWN))
            }
            Poll::Ready(Some(Err(_))) => Some(UNKNOWN),
            Poll::Ready(None) | Poll::Pending => None,
        };
        if let (Some(status), Some(mut in_flight)) = (status, status.and_then(|_| self.in_flight.take())) {
            in_flight.status = status.into();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Returns the name of the status in `headers`, if there is one; `Unknown` for a value that is not a status code of gRPC.
fn code(headers: &HeaderMap) -> Option<&'static str> {
    let value = headers.get("grpc-status")?;
    let code = value.to_str().ok().and_then(|text| text.parse::<usize>().ok());
    Some(code.and_then(|code| CODES.get(code)).unwrap_or(&UNKNOWN))
}
