//! The gateway's pages on the admin port.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use balanced_channel::ChannelSnapshot;
use serde::Serialize;

use crate::{gateway::Gateway, grpc_routes::RouteDetails};

/// The body of `GET /debug/channels`.
#[derive(Serialize)]
struct Channels<'a> {
    channels: Vec<NamedChannel<'a>>,
}

#[derive(Serialize)]
struct NamedChannel<'a> {
    name: &'a str,
    #[serde(flatten)]
    snapshot: ChannelSnapshot,
}

/// The body of `GET /debug/routes`.
#[derive(Serialize)]
struct RouteList<'a> {
    routes: Vec<RouteDetails<'a>>,
}

/// Returns the router of the admin port's pages.
pub(crate) fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/debug/channels", get(channels))
        .route("/debug/routes", get(routes))
        .with_state(gateway)
}

/// `GET /debug/channels`: the state of every gRPC channel and each of its connections.
async fn channels(State(gateway): State<Arc<Gateway>>) -> Response {
    let channels =
        gateway.routes.snapshots().map(|(name, snapshot)| NamedChannel { name, snapshot }).collect();
    Json(Channels { channels }).into_response()
}

/// `GET /debug/routes`: each gRPC route with its target and its last error.
async fn routes(State(gateway): State<Arc<Gateway>>) -> Response {
    Json(RouteList { routes: gateway.routes.details() }).into_response()
}
