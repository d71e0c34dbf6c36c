//! hellohttp, the HTTP backend: answers greetings with its version and hostname.
//!
//! `GET /hellohttp?name=Ann` answers `{"name":"Ann","version":"v1-hellohttp","hostname":"pod-1"}`. Connections are
//! closed after `MAX_CONNECTION_AGE`, so that clients that keep connections alive are spread over the pods again,
//! including pods that were added later.

mod config;
mod greeting;

use std::{error::Error, sync::Arc};

use service::{
    Instance, Program,
    http::{finish, serve as serve_http},
};
use tokio::net::TcpListener;

pub use config::Config;

/// The program: its name, version and port.
pub const PROGRAM: Program = Program {
    name: "hellohttp",
    about: "The HTTP backend: answers GET /hellohttp?name= with the caller's name, its version and its hostname",
    version: "v1-hellohttp",
    port: 8100,
};

/// Serves on `listener` until the instance shuts down and the requests in flight are answered.
///
/// # Errors
///
/// Never fails. The result is part of the signature that all programs share.
pub async fn serve(
    config: Config,
    listener: TcpListener,
    instance: Instance,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let greeter = Arc::new(greeting::Greeter::new(instance.identity.clone(), config.response_delay));
    let router = finish(greeting::routes(greeter), Some(&instance.metrics));
    serve_http(listener, router, &instance, config.connections).await;
    Ok(())
}
