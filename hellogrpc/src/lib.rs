//! hellogrpc, the gRPC backend: speaks the greeting protocols, and names the pod that answers.
//!
//! Each service is one module over the same identity:
//!
//! - `hello`: `hello.Hello`, which the gateway calls.
//! - `helloworld`: `helloworld.Greeter`, which the gRPC project's own clients call.
//! - `echo`: `echo.EchoServer`, unary and server streaming, with headers and trailers.
//! - `message`: `message.Echo`.
//!
//! [`service::grpc`] adds health, reflection, metrics and the header `hostname`, and limits connections.

mod config;
mod echo;
mod hello;
mod helloworld;
mod message;
mod responder;

use proto::{
    echo::echo_server_server::EchoServerServer, hello::hello_server::HelloServer,
    helloworld::greeter_server::GreeterServer, message::echo_server::EchoServer,
};
use service::{Instance, Outcome, Program, grpc};
use tokio::net::TcpListener;
use tonic::service::{LayerExt as _, Routes};
use tower::util::MapResponseLayer;

pub use config::Config;
use responder::Responder;

/// The program: its name, version and port.
pub const PROGRAM: Program = Program {
    name: "hellogrpc",
    about: "The gRPC backend: answers hello.Hello, helloworld.Greeter, echo.EchoServer and message.Echo",
    version: "v1-hellogrpc",
    port: 8000,
};

/// Serves on `listener` until the instance shuts down, then until the calls in flight are answered.
///
/// # Errors
///
/// Fails if the instance's hostname cannot be sent in a header.
pub async fn serve(config: Config, listener: TcpListener, instance: Instance) -> Outcome {
    let responder = Responder { identity: instance.identity.clone(), delay: config.response_delay };
    let max = config.server.max_message_size;
    let echo = echo::EchoServerService {
        responder: responder.clone(),
        shutdown: instance.shutdown.clone(),
        stream_grace: config.stream_grace,
    };
    let hello = HelloServer::new(hello::HelloService(responder.clone()))
        .max_decoding_message_size(max)
        .max_encoding_message_size(max);
    let greeter = GreeterServer::new(helloworld::GreeterService(responder.clone()))
        .max_decoding_message_size(max)
        .max_encoding_message_size(max);
    let echo = EchoServerServer::new(echo).max_decoding_message_size(max).max_encoding_message_size(max);
    let message = EchoServer::new(message::EchoService(responder))
        .max_decoding_message_size(max)
        .max_encoding_message_size(max);
    let routes = Routes::new(hello)
        .add_service(greeter)
        .add_service(MapResponseLayer::new(echo::add_trailer).named_layer(echo))
        .add_service(message);
    grpc::serve(config.server, routes, proto::GREETING_DESCRIPTORS, listener, instance).await
}
