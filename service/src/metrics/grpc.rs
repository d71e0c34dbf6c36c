//! Measures calls of a gRPC server. The status of a call is in its trailers, so the body is watched to its end.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::series::{Call, Names, Series, Vectors};

/// The method of calls that name none the server has.
const UNKNOWN_METHOD: &str = "unknown";

/// The names of the status codes 0 to 16, spelled as grpc-go's Prometheus metrics do.
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
const CANCELED: u16 = 1;
const UNKNOWN: u16 = 2;

pub(super) fn vectors() -> Vectors {
    let names = Names {
        handled: "grpc_server_handled_total",
        latency: "grpc_server_handling_seconds",
        in_flight: "grpc_server_in_flight",
        subject_label: "grpc_method",
        status_label: "grpc_code",
    };
    Vectors::new(&names, |code| {
        CODES.get(usize::from(code)).unwrap_or(&CODES[usize::from(UNKNOWN)]).to_string()
    })
}

/// Measures each call; made by [`Metrics::grpc_layer`](super::Metrics::grpc_layer).
#[derive(Clone, Debug)]
pub struct GrpcMetricsLayer {
    methods: Arc<HashMap<String, Arc<Series>>>,
    unknown: Arc<Series>,
}

/// See [`GrpcMetricsLayer`].
#[derive(Clone, Debug)]
pub struct MeasuredGrpc<S> {
    inner: S,
    layer: GrpcMetricsLayer,
}

pin_project! {
    /// See [`GrpcMetricsLayer`].
    #[derive(Debug)]
    pub struct MeasuredCall<F> {
        #[pin]
        inner: F,
        call: Option<Call>,
    }
}

pin_project! {
    /// See [`GrpcMetricsLayer`]. The call ends with the trailers, or when nobody wants the rest.
    #[derive(Debug)]
    pub struct MeasuredBody<B> {
        #[pin]
        inner: B,
        call: Option<Call>,
    }
}

// === impl GrpcMetricsLayer ===

impl GrpcMetricsLayer {
    pub(super) fn new<M: AsRef<str>>(vectors: &Vectors, methods: impl IntoIterator<Item = M>) -> Self {
        let series = |method: M| {
            let path = method.as_ref();
            (path.to_owned(), vectors.series(path.trim_start_matches('/')))
        };
        Self {
            methods: Arc::new(methods.into_iter().map(series).collect()),
            unknown: vectors.series(UNKNOWN_METHOD),
        }
    }
}

impl<S> tower::Layer<S> for GrpcMetricsLayer {
    type Service = MeasuredGrpc<S>;

    fn layer(&self, inner: S) -> Self::Service {
        MeasuredGrpc { inner, layer: self.clone() }
    }
}

// === impl MeasuredGrpc ===

impl<S, A, B> tower::Service<Request<A>> for MeasuredGrpc<S>
where
    S: tower::Service<Request<A>, Response = Response<B>>,
{
    type Response = Response<MeasuredBody<B>>;
    type Error = S::Error;
    type Future = MeasuredCall<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let series = self.layer.methods.get(request.uri().path()).unwrap_or(&self.layer.unknown);
        let call = series.start(CANCELED);
        MeasuredCall { inner: self.inner.call(request), call: Some(call) }
    }
}

impl<F, B, E> Future for MeasuredCall<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<MeasuredBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        let mut call = this.call.take();
        // A call that failed before its first message has its status in the head ("Trailers-Only").
        if let (Some(call), Some(code)) = (&mut call, code(response.headers())) {
            call.set_status(code);
        }
        Poll::Ready(Ok(response.map(|inner| MeasuredBody { inner, call })))
    }
}

impl<B: Body> Body for MeasuredBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        let ended = match &frame {
            Some(Ok(frame)) => frame.trailers_ref().map(|trailers| code(trailers).unwrap_or(UNKNOWN)),
            Some(Err(_)) => Some(UNKNOWN),
            None => None,
        };
        if let (Some(mut call), Some(code)) = (ended.and_then(|_| this.call.take()), ended) {
            call.set_status(code);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The call's status, where `headers` say it. What is no code of gRPC is Unknown, as clients read it.
fn code(headers: &HeaderMap) -> Option<u16> {
    let value = headers.get("grpc-status")?;
    let code = value.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(UNKNOWN);
    Some(if usize::from(code) < CODES.len() { code } else { UNKNOWN })
}
