//! The middleware of every program, in the order from the client to the handler:
//!
//! 1. Problems: adds the request ID to the body.
//! 2. Request ID: removes an unusable one, sets a missing one, and copies it into the response.
//! 3. Access log: one line per response, with the target `access` and the level debug.
//! 4. Metrics by route.
//! 5. Panics: responds 500.
//! 6. `Host`: rejects an HTTP/1.1 request without exactly one.

use std::{any::Any, time::Duration};

use axum::{
    Router,
    extract::Request,
    middleware::from_fn_with_state,
    response::{IntoResponse as _, Response},
};
use http::{StatusCode, Version, header::HOST, uri::Authority};
use prometheus::IntCounter;
use tower::{
    ServiceBuilder,
    util::{MapRequestLayer, MapResponseLayer},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    classify::{ServerErrorsAsFailures, SharedClassifier},
    request_id::{PropagateRequestIdLayer, RequestId, SetRequestIdLayer},
    trace::TraceLayer,
    validate_request::ValidateRequestHeaderLayer,
};
use tracing::{Span, debug, debug_span, field::display};

use crate::{Metrics, Problem, metrics::measure_http, problem, request_id};

/// Adds the middleware, and problems as responses to unknown paths (404) and methods (405, with `Allow`). Covers only the
/// routes that `router` has already. Without `metrics`, requests are not counted.
pub fn finish(router: Router, metrics: Option<&Metrics>) -> Router {
    let panics = metrics.map(Metrics::panics);
    let catch_panic = CatchPanicLayer::custom(move |_: Box<dyn Any + Send>| {
        panics.iter().for_each(IntCounter::inc);
        let detail = "the server panicked while handling this request; its log has the reason";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
    });
    let mut router = router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer((catch_panic, ValidateRequestHeaderLayer::custom(require_host)));
    if let Some(metrics) = metrics {
        router = router.layer(from_fn_with_state(metrics.http(), measure_http));
    }
    common_layers(router)
}

/// Adds the middleware that does not depend on the protocol.
pub(crate) fn common_layers(router: Router) -> Router {
    router.layer(
        ServiceBuilder::new()
            .layer(MapResponseLayer::new(problem::add_request_id))
            .layer(MapRequestLayer::new(request_id::remove_unusable))
            .layer(SetRequestIdLayer::x_request_id(request_id::RandomId))
            .layer(PropagateRequestIdLayer::x_request_id())
            .layer(access_log()),
    )
}

type AccessLog = TraceLayer<
    SharedClassifier<ServerErrorsAsFailures>,
    fn(&Request) -> Span,
    (),
    fn(&Response, Duration, &Span),
    (),
    (),
    (),
>;

/// Returns the layer that logs one line per response, in a span with the fields of the request.
fn access_log() -> AccessLog {
    TraceLayer::new_for_http()
        .make_span_with(request_span as fn(&Request) -> Span)
        .on_request(())
        .on_response(log_response as fn(&Response, Duration, &Span))
        .on_body_chunk(())
        .on_eos(())
        .on_failure(())
}

fn request_span(request: &Request) -> Span {
    let id = request
        .extensions()
        .get::<RequestId>()
        .map(|id| String::from_utf8_lossy(id.header_value().as_bytes()));
    let (method, uri) = (request.method(), request.uri());
    debug_span!(target: "access", "request", %method, %uri, request_id = id.as_deref())
}

fn log_response(response: &Response, latency: Duration, _span: &Span) {
    let problem = response.extensions().get::<Problem>().map(display);
    let grpc_status = response.headers().get("grpc-status").and_then(|value| value.to_str().ok());
    debug!(target: "access", status = response.status().as_u16(), ?latency, problem, grpc_status, "response");
}

async fn not_found(request: Request) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", request.uri().path()))
}

async fn method_not_allowed(request: Request) -> Problem {
    let (method, path) = (request.method(), request.uri().path());
    let detail = format!("{path} does not take {method}; see the Allow header");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

/// Rejects an HTTP/1.1 request without a `Host` header, with more than one, or with an invalid one (RFC 9112, section
/// 3.2).
#[expect(clippy::result_large_err, reason = "the error is the response")]
fn require_host(request: &mut Request) -> Result<(), Response> {
    if request.version() != Version::HTTP_11 {
        return Ok(());
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let detail = match (hosts.next(), hosts.next()) {
        (Some(host), None) if host.is_empty() || Authority::try_from(host.as_bytes()).is_ok() => {
            return Ok(());
        }
        (Some(_), None) => "the Host header is not a host and port",
        (None, _) => "an HTTP/1.1 request needs a Host header",
        (Some(_), Some(_)) => "the request has more than one Host header",
    };
    Err(Problem::new(StatusCode::BAD_REQUEST, detail).into_response())
}
