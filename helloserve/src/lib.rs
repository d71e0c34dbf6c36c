//! helloserve, the gateway: it forwards HTTP requests to gRPC and HTTP backends and balances them over their pods.
//!
//! A request passes through these modules:
//!
//! - [`router`]: the paths and their handlers.
//! - [`admission`]: admits the request, or sheds it.
//! - [`request`], [`deadline`], [`propagation`]: the query, the time limit and the headers that are forwarded.
//! - [`grpc_routes`]: the routes to gRPC backends, which [`route_config`] parses.
//! - [`upstream`]: the call to a gRPC backend (over balanced-channel) or to the HTTP backend (through reqwest).
//! - [`response`] or [`error`]: the JSON response, or a problem in its place.
//!
//! [`config`] has the flags and [`gateway`] the shared state. [`readiness`] decides when the gateway is ready. [`debug`] and
//! [`channel_metrics`] serve the admin port.

mod admission;
mod channel_metrics;
mod config;
mod deadline;
mod debug;
mod error;
mod gateway;
mod grpc_routes;
mod grpc_target;
mod propagation;
mod readiness;
mod request;
mod response;
mod route_config;
mod router;
mod upstream;

use std::{error::Error, future::pending, sync::Arc};

use service::{
    Instance, Program,
    http::{finish, serve as serve_http},
};
use tokio::{net::TcpListener, sync::watch};

pub use config::Config;
pub use route_config::{DEFAULT as DEFAULT_ROUTE, InvalidRoutes, RouteConfigs};

/// The gateway's name, version and port.
pub const PROGRAM: Program = Program {
    name: "helloserve",
    about: "The gateway: forwards GET /hellogrpc?name= and GET /hellohttp?name= to gRPC and HTTP backends",
    version: "v1-helloserve",
    port: 8200,
};

/// Serves on `listener` until the instance has shut down and the requests in flight have their responses.
///
/// The gateway becomes ready once it has reached its backends; see [`readiness`].
///
/// # Errors
///
/// If a client for the backends cannot be created.
pub async fn serve(
    config: Config,
    listener: TcpListener,
    instance: Instance,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let startup_timeout = config.startup_timeout;
    let connections = config.connections.clone();
    let gateway = Arc::new(gateway::Gateway::new(config, &instance)?);
    instance.admin.merge(debug::router(gateway.clone()));
    let (state, ready) = watch::channel(Err("the gateway is starting".to_owned()));
    instance.admin.set_readiness(ready);
    let router = finish(router::router(gateway.clone()), Some(&instance.metrics));
    let readiness = async {
        readiness::become_ready(gateway.routes.channels(), gateway.http.reached(), startup_timeout, &state)
            .await;
        pending().await
    };
    tokio::select! {
        () = serve_http(listener, router, &instance, connections) => Ok(()),
        never = readiness => never,
    }
}
