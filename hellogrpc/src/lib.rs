//! hellogrpc, the gRPC backend: says hello, and who it is.
//!
//! Beside `hello.Hello` it serves `grpc.health.v1.Health` and server reflection (v1 and v1alpha), as clients and
//! probes expect of a gRPC server.
//!
//! How its connections live and end follows gRFC A9 (server-side connection management): age, give or take 10 %,
//! grace, and keepalive PINGs of the server's own; [`Config`] has the limits. tonic's server is not used for that:
//! in its 0.14 the age has no jitter, and a grace cuts connections that never saw a GOAWAY. Of the server's part
//! in gRFC A8 (client-side keepalive) there is this much: every PING is answered, one at a time, and while an
//! answer waits to be sent no more is read, so that a client that pings without end slows down itself alone. It is
//! not sent away with `too_many_pings`: hyper counts no PINGs. What hyper does count, and answers with GOAWAY
//! ENHANCE_YOUR_CALM, is streams that are reset before they are served, CONTINUATION frames, and tiny DATA frames.
//!
//! - `greeter`: the answer.
//! - `health`: says NOT_SERVING as soon as the program drains.
//! - `methods`: what there is to call, for the labels of the metrics.

mod config;
mod greeter;
mod health;
mod methods;

use std::error::Error;

use proto::hello::hello_server::HelloServer;
use service::{Instance, Program, http::Server};
use tokio::net::TcpListener;
use tonic::service::Routes;

pub use config::Config;
use greeter::Greeter;

/// Who the program is.
pub const PROGRAM: Program = Program {
    name: "hellogrpc",
    about: "The gRPC backend: answers hello.Hello/SayHello with the caller's name, its version and its hostname",
    version: "v1-hellogrpc",
    port: 8000,
};

/// Serves on `listener` until the instance shuts down, then until the calls in flight are answered.
///
/// # Errors
///
/// When the descriptors that were built in cannot be read.
pub async fn serve(
    config: Config,
    listener: TcpListener,
    instance: Instance,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let hello = HelloServer::new(Greeter::new(instance.identity.clone(), config.response_delay))
        .max_decoding_message_size(config.max_message_size)
        .max_encoding_message_size(config.max_message_size);
    let (health, reporter) = health::service().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let router = Routes::new(hello)
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .into_axum_router()
        .layer(instance.metrics.grpc_layer(methods::paths()?));
    let server = Server::http2(config.http2())
        .max_connection_age(config.max_connection_age, config.max_connection_age_grace);
    tokio::join!(
        server.serve(listener, router, instance.shutdown.clone()),
        health::follow(reporter, instance.shutdown)
    );
    Ok(())
}
