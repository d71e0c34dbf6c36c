//! Measures HTTP requests by route.

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};

use super::requests::{Names, RequestMetrics};

/// The path of requests that no route matched.
const UNMATCHED: &str = "unmatched";

/// The status of requests whose client disconnected before the response, as in nginx.
const CLIENT_CLOSED_REQUEST: &str = "499";

pub(super) const NAMES: Names = Names {
    handled: "http_requests_total",
    latency: "http_request_duration_seconds",
    in_flight: "http_requests_in_flight",
    target: "path",
    status: "status",
};

/// Measures one request. The label is the pattern of the route, not the path of the request, so that clients cannot create
/// labels.
pub(crate) async fn measure(State(metrics): State<RequestMetrics>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or(UNMATCHED, MatchedPath::as_str);
    let mut in_flight = metrics.start(route.into(), CLIENT_CLOSED_REQUEST);
    let response = next.run(request).await;
    in_flight.status = response.status().as_str().to_owned().into();
    response
}
