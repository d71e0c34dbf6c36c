//! Measures requests that go through an axum router.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use axum::extract::MatchedPath;
use http::{Request, Response};
use pin_project_lite::pin_project;

use super::series::{Call, Names, Series, Vectors};

/// The route of requests that no route matched.
const UNMATCHED: &str = "unmatched";

/// The status of requests whose client went away first: nginx's 499, as no status was ever sent.
const CLIENT_CLOSED_REQUEST: u16 = 499;

pub(super) fn vectors() -> Vectors {
    let names = Names {
        handled: "http_requests_total",
        latency: "http_request_duration_seconds",
        in_flight: "http_requests_in_flight",
        subject_label: "route",
        status_label: "status",
    };
    Vectors::new(&names, |status| status.to_string())
}

/// Measures each request; made by [`Metrics::http_layer`](super::Metrics::http_layer).
///
/// A router applies a layer to each of its routes on its own, so that each [`MeasuredHttp`] serves one route.
#[derive(Clone, Debug)]
pub struct HttpMetricsLayer {
    vectors: Vectors,
}

/// See [`HttpMetricsLayer`].
#[derive(Clone, Debug)]
pub struct MeasuredHttp<S> {
    inner: S,
    vectors: Vectors,
    /// The route this serves, known from its first request on.
    series: Arc<OnceLock<Arc<Series>>>,
}

pin_project! {
    /// See [`HttpMetricsLayer`].
    #[derive(Debug)]
    pub struct MeasuredRequest<F> {
        #[pin]
        inner: F,
        call: Option<Call>,
    }
}

// === impl HttpMetricsLayer ===

impl HttpMetricsLayer {
    pub(super) fn new(vectors: Vectors) -> Self {
        Self { vectors }
    }
}

impl<S> tower::Layer<S> for HttpMetricsLayer {
    type Service = MeasuredHttp<S>;

    fn layer(&self, inner: S) -> Self::Service {
        MeasuredHttp { inner, vectors: self.vectors.clone(), series: Arc::default() }
    }
}

// === impl MeasuredHttp ===

impl<S> MeasuredHttp<S> {
    fn series<B>(&self, request: &Request<B>) -> Arc<Series> {
        let route = request.extensions().get::<MatchedPath>().map_or(UNMATCHED, MatchedPath::as_str);
        let series = self.series.get_or_init(|| self.vectors.series(route));
        // A layered router that is nested in two places serves two routes with one service.
        if series.subject() == route { Arc::clone(series) } else { self.vectors.series(route) }
    }
}

impl<S, A, B> tower::Service<Request<A>> for MeasuredHttp<S>
where
    S: tower::Service<Request<A>, Response = Response<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = MeasuredRequest<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let call = self.series(&request).start(CLIENT_CLOSED_REQUEST);
        MeasuredRequest { inner: self.inner.call(request), call: Some(call) }
    }
}

impl<F, B, E> Future for MeasuredRequest<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        if let (Some(mut call), Ok(response)) = (this.call.take(), &result) {
            call.set_status(response.status().as_u16());
        }
        Poll::Ready(result)
    }
}
