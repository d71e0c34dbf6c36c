//! Serves a router on a bound listener, over HTTP/1 or HTTP/2, and ends connections without losing a request.

mod connection;
mod head_timer;
mod http1;
mod http2;
mod protocol;
mod server;

use axum::{Router, extract::Request};
use http::StatusCode;

pub use self::{http1::Http1, http2::Http2, server::Server};
use crate::{Metrics, Problem, request_id::RequestIdLayer};

/// Gives a router what every router here has: problems for unknown paths (404) and methods (405, with `Allow`),
/// a request id in each request and answer, and metrics when there are any. Call it last: it covers the routes
/// that are there.
pub fn finish(router: Router, metrics: Option<&Metrics>) -> Router {
    let router = router.fallback(not_found).method_not_allowed_fallback(method_not_allowed);
    match metrics {
        Some(metrics) => router.layer((RequestIdLayer, metrics.http_layer())),
        None => router.layer(RequestIdLayer),
    }
}

async fn not_found(request: Request) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", request.uri().path()))
}

async fn method_not_allowed(request: Request) -> Problem {
    let (method, path) = (request.method(), request.uri().path());
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{path} does not take {method}; see the Allow header"),
    )
}
