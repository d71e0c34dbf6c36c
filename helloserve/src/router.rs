//! The gateway's paths and their handlers.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::header::CONTENT_TYPE;
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
    permit: Permit,
    request: GreetingRequest,
) -> Result<Response, Error> {
    let GreetingRequest { query, headers, timeout } = request;
    let via = query.via.as_deref().filter(|_| gateway.route_selection);
    let route = gateway.routes.find(via)?;
    let introduction = route.greet(query.name.clone(), headers, timeout).await?;
    Ok(respond(&gateway, permit, &query.name, GrpcResponse::from(introduction)))
}

/// `GET /hellohttp?name=`: forwards the greeting to the HTTP backend.
async fn hellohttp(
    State(gateway): State<Arc<Gateway>>,
    permit: Permit,
    request: GreetingRequest,
) -> Result<Response, Error> {
    let GreetingRequest { query, headers, timeout } = request;
    let response = gateway.http.greet(&query.name, headers, timeout).await?;
    Ok(respond(&gateway, permit, &query.name, response))
}

/// `GET /routes`: the gRPC routes that `?via=` selects, and their state.
async fn routes(State(gateway): State<Arc<Gateway>>) -> Response {
    Json(RouteList { routes: gateway.routes.status() }).into_response()
}

/// Returns the backend's response inside the gateway's own.
fn respond(gateway: &Gateway, permit: Permit, name: &str, response: impl Serialize) -> Response {
    let service::Identity { version, hostname } = &gateway.identity;
    let response = GatewayResponse { name, version, hostname, response };
    let json = serde_json::to_vec(&response).expect("strings, numbers and JSON values can be serialized");
    ([(CONTENT_TYPE, "application/json")], permit.body(json.into())).into_response()
}
