//! A gRPC server: the services of a program, with what clients, probes and scrapers expect beside them.
//!
//! Health (`grpc.health.v1`) and server reflection (v1 and v1alpha) cover every service in the program's descriptors,
//! metrics every method. Each response has the header `hostname`, failed calls included.
//!
//! Connections live and end as gRFC A9 describes (server-side connection management): age, give or take 10 %, grace,
//! and keepalive PINGs; [`ServerConfig`] has the limits. tonic's own server is not used: in 0.14 its age has no jitter,
//! and its grace cuts connections that never received a GOAWAY. From the server's part of gRFC A8 (client-side
//! keepalive): every PING is answered, one at a time, and nothing further is read while an answer waits to be sent.
//! `too_many_pings` is not implemented, because hyper does not count PINGs. hyper counts streams that are reset before
//! they are served, CONTINUATION frames and tiny DATA frames, and answers too many with GOAWAY ENHANCE_YOUR_CALM.

mod config;
mod descriptors;
mod health;

use http::{HeaderName, HeaderValue};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tower_http::set_header::SetResponseHeaderLayer;

pub use self::config::ServerConfig;
use crate::{Instance, Outcome, http::Server};

/// The response header with the name of the pod that answered.
pub const HOSTNAME: HeaderName = HeaderName::from_static("hostname");

/// Serves `routes` on `listener` until the instance shuts down and the calls in flight have ended. `descriptors` is the
/// encoded `FileDescriptorSet` of the services in `routes`.
///
/// # Errors
///
/// When the descriptors cannot be decoded, or the instance's hostname cannot be sent in a header.
pub async fn serve(
    config: ServerConfig,
    routes: Routes,
    descriptors: &'static [u8],
    listener: TcpListener,
    instance: Instance,
) -> Outcome {
    let hostname = HeaderValue::from_str(&instance.identity.hostname).map_err(|_| {
        let hostname = &instance.identity.hostname;
        format!(
            "the hostname {hostname:?} cannot be sent in a header: give POD_NAME visible ASCII characters"
        )
    })?;
    let services = descriptors::services(descriptors)?;
    let (health, reporter) = health::service(&services).await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(descriptors)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // One layer made of two: axum boxes the future of each.
    let layers = (
        instance.metrics.grpc_layer(descriptors::methods(descriptors)?),
        SetResponseHeaderLayer::overriding(HOSTNAME, hostname),
    );
    let router = routes
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .into_axum_router()
        .layer(layers);
    let server = Server::http2(config.http2())
        .max_connection_age(config.max_connection_age, config.max_connection_age_grace);
    tokio::join!(
        server.serve(listener, router, instance.shutdown.clone()),
        health::follow(reporter, services, instance.shutdown)
    );
    Ok(())
}
