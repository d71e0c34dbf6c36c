//! The `/hellohttp` endpoint.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    routing::get,
};
use serde::{Deserialize, Serialize};
use service::{Identity, Problem};
use tokio::time;

/// Answers greetings with the caller's name and the identity of this server.
#[derive(Debug)]
pub(crate) struct Greeter {
    identity: Identity,
    delay: Duration,
}

/// The query of a greeting. Other parameters are ignored.
#[derive(Deserialize)]
struct Greeting {
    #[serde(default)]
    name: String,
}

/// The response. Fields are serialized in this order.
#[derive(Serialize)]
struct Introduction {
    name: String,
    version: String,
    hostname: String,
}

// === impl Greeter ===

impl Greeter {
    pub(crate) fn new(identity: Identity, delay: Duration) -> Self {
        Self { identity, delay }
    }
}

pub(crate) fn routes(greeter: Arc<Greeter>) -> Router {
    Router::new().route("/hellohttp", get(hello)).with_state(greeter)
}

async fn hello(
    State(greeter): State<Arc<Greeter>>,
    greeting: Result<Query<Greeting>, QueryRejection>,
) -> Result<Json<Introduction>, Problem> {
    let Query(Greeting { name }) =
        greeting.map_err(|rejection| Problem::new(StatusCode::BAD_REQUEST, rejection.body_text()))?;
    if !greeter.delay.is_zero() {
        time::sleep(greeter.delay).await;
    }
    let Identity { version, hostname } = greeter.identity.clone();
    Ok(Json(Introduction { name, version, hostname }))
}
