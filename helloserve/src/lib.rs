//! helloserve, the gateway: HTTP and JSON in, gRPC and HTTP out, each call on its way to another pod.
//!
//! A request meets the parts in this order:
//!
//! - [`paths`]: what is asked for, and one thin handler for each.
//! - [`admission`]: lets it in, or sheds it.
//! - [`greeting`], [`deadline`], [`propagation`]: what it asks, how long it may take, what of it goes on.
//! - [`routes`]: which way to the gRPC backends it takes, of those that [`route_config`] reads.
//! - [`upstream`]: the way to a gRPC backend (a balanced channel) and to the HTTP backend (pooled connections,
//!   addresses in turn), and how each failure of theirs is told.
//! - [`answer`], [`sorted_json`]: the answer, byte for byte.
//! - [`refusal`]: or why there is none, in one table of statuses.
//!
//! [`config`] has the flags, [`gateway`] holds what all requests share, [`readiness`] says when it is ready, [`debug`]
//! shows it on the admin port; [`channel_metrics`] has what the channels count among the metrics there.

mod admission;
mod answer;
mod channel_metrics;
mod config;
mod deadline;
mod debug;
mod gateway;
mod greeting;
mod grpc_target;
mod paths;
mod propagation;
mod readiness;
mod refusal;
mod route_config;
mod routes;
mod sorted_json;
mod upstream;

use std::{error::Error, future::pending, sync::Arc};

use service::{
    Instance, Program,
    http::{Server, finish},
};
use tokio::{net::TcpListener, sync::watch};

pub use config::Config;
pub use route_config::{DEFAULT as DEFAULT_ROUTE, InvalidRoutes, RouteConfigs};

/// Who the gateway is.
pub const PROGRAM: Program = Program {
    name: "helloserve",
    about: "The gateway: answers GET /hellogrpc?name= and GET /hellohttp?name= with what the backends say",
    version: "v1-helloserve",
    port: 8200,
};

/// Serves on `listener` until the instance shuts down, then until the requests in flight are answered.
///
/// It is ready once it has reached its backends, or knows that there are none: see [`readiness`].
///
/// # Errors
///
/// When a client for the backends cannot be set up.
pub async fn serve(
    config: Config,
    listener: TcpListener,
    instance: Instance,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let gateway = Arc::new(gateway::Gateway::new(config, &instance)?);
    instance.admin.merge(debug::router(gateway.clone()));
    let (says, ready) = watch::channel(Err("the program starts".to_owned()));
    instance.admin.ready_as(ready);
    let router = finish(paths::router(gateway.clone()), Some(&instance.metrics));
    let settling = async {
        readiness::settle(gateway.routes.channels(), &says).await;
        pending().await
    };
    tokio::select! {
        () = Server::http1().serve(listener, router, instance.shutdown) => Ok(()),
        never = settling => never,
    }
}
