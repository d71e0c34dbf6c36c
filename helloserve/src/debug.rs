//! What the gateway knows about its backends, on the admin port.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use balanced_channel::ChannelSnapshot;
use http::{StatusCode, header::CONTENT_TYPE};
use serde::Serialize;
use service::Problem;

use crate::gateway::Gateway;

/// Every gRPC channel of the gateway.
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

/// `GET /debug/channels`: the state of every gRPC channel, down to each connection.
pub(crate) fn router(gateway: Arc<Gateway>) -> Router {
    Router::new().route("/debug/channels", get(channels)).with_state(gateway)
}

async fn channels(State(gateway): State<Arc<Gateway>>) -> Result<Response, Problem> {
    let named = gateway.routes.snapshots().map(|(name, snapshot)| NamedChannel { name, snapshot });
    let text = serde_json::to_string_pretty(&Channels { channels: named.collect() })
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(CONTENT_TYPE, "application/json")], text).into_response())
}
