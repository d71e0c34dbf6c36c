//! The gateway's paths and their handlers.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;

use crate::{
    admission::Permit,
    error::Error,
    gateway::Gateway,
    grpc_routes::RouteStatus,
    request::GreetingRequest,
    response::{GatewayResponse, GrpcResponse},
};

/// The body of `GET /routes`.
#[derive(Serialize)]
struct RouteList<'a> {
    routes: Vec<RouteStatus<'a>>,
}

/// Returns the router of the public port.
pub(crate) fn router(gateway: Arc<Gateway>) -> Router {
    let mut router = Router::new().route("/hellogrpc", get(hellogrpc)).route("/hellohttp", get(hellohttp));
    if gateway.route_selection {
        router = router.route("/routes", get(routes));
    }
    router.with_state(gateway)
}

/// `GET /hellogrpc?name=&via=`: forwards the greeting to a gRPC backend.
async fn hellogrpc(
    State(gateway): State<Arc<Gateway>>,
    _permit: Permit,
    request: GreetingRequest,
) -> Result<Response, Error> {
    let GreetingRequest { query, headers, timeout } = request;
    let via = query.via.as_deref().filter(|_| gateway.route_selection);
    let route = gateway.routes.find(via)?;
    let introduction = route.greet(query.name.clone(), headers, timeout).await?;
    Ok(respond(&gateway, &query.name, GrpcResponse::from(introduction)))
}

/// `GET /hellohttp?name=`: forwards the greeting to the HTTP backend.
async fn hellohttp(
    State(gateway): State<Arc<Gateway>>,
    _permit: Permit,
    request: GreetingRequest,
) -> Result<Response, Error> {
    let GreetingRequest { query, headers, timeout } = request;
    let response = gateway.http.greet(&query.name, headers, timeout).await?;
    Ok(respond(&gateway, &query.name, response))
}

/// `GET /routes`: the gRPC routes that `?via=` selects, and their state.
async fn routes(State(gateway): State<Arc<Gateway>>) -> Response {
    Json(RouteList { routes: gateway.routes.status() }).into_response()
}

/// Returns the backend's response inside the gateway's own.
fn respond(gateway: &Gateway, name: &str, response: impl Serialize) -> Response {
    let service::Identity { version, hostname } = &gateway.identity;
    Json(GatewayResponse { name, version, hostname, response }).into_response()
}
