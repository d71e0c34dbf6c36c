//! A gRPC server: the services of a program, and beside them health, reflection and metrics.
//!
//! Health (`grpc.health.v1`) and server reflection (v1 and v1alpha) cover every service in the program's descriptors,
//! metrics every method. Each response has the header `hostname`, failed calls included.
//!
//! Connections are managed as in gRFC A9 (server-side connection management): maximum age with a jitter of 10 %, grace
//! and keepalive PINGs; [`ServerConfig`] has the limits. tonic's own server is not used: in 0.14 its age has no jitter,
//! and its grace closes connections that never received a GOAWAY.
//!
//! Clients may send keepalive PINGs (gRFC A8): every PING is answered, one at a time, and nothing is read while an answer
//! waits to be sent. `too_many_pings` is not implemented, because hyper does not count PINGs. hyper does
//! count streams that are reset before they are served, CONTINUATION frames and tiny DATA frames, and answers too many
//! of them with GOAWAY ENHANCE_YOUR_CALM.

mod admission;
mod config;
mod descriptors;
mod health;

use std::any::Any;

use axum::{
    body::Body,
    extract::Request,
    middleware::from_fn_with_state,
    response::{IntoResponse as _, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE};
use tokio::net::TcpListener;
use tonic::{Status, service::Routes};
use tower_http::{
    catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer,
    validate_request::ValidateRequestHeaderLayer,
};

use self::admission::Admission;
pub use self::config::ServerConfig;
use crate::{
    Instance, Outcome, Problem,
    http::{common_layers, serve as serve_http},
    metrics::measure_grpc,
};

/// The response header with the hostname of the server.
pub const HOSTNAME: HeaderName = HeaderName::from_static("hostname");

/// Serves `routes` on `listener` until the instance shuts down and the calls in flight have ended. `descriptors` is the
/// encoded `FileDescriptorSet` of the services in `routes`.
///
/// # Errors
///
/// If the descriptors cannot be decoded, or the instance's hostname cannot be sent in a header.
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
            "the hostname {hostname:?} cannot be sent in a header: set POD_NAME to visible ASCII characters"
        )
    })?;
    let services = descriptors::services(descriptors)?;
    let (health, reporter) = health::service(&services).await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(descriptors)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let methods = descriptors::methods(descriptors)?;
    let admission = Admission::new(&config, &methods, hostname.clone(), &instance.metrics);
    let measured = instance.metrics.grpc(methods.into_iter().map(|method| method.path));
    let panics = instance.metrics.panics();
    let layers = (
        ValidateRequestHeaderLayer::custom(require_grpc),
        from_fn_with_state(measured, measure_grpc),
        SetResponseHeaderLayer::overriding(HOSTNAME, hostname),
        CatchPanicLayer::custom(move |_: Box<dyn Any + Send>| {
            panics.inc();
            Status::internal("the server panicked while handling this call; its log has the reason")
                .into_http::<Body>()
        }),
    );
    let router = routes
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .into_axum_router()
        .layer(layers);
    tokio::join!(
        serve_http(listener, admission.in_front_of(common_layers(router)), &instance, config.connections),
        health::follow_shutdown(reporter, services, instance.shutdown.clone())
    );
    Ok(())
}

/// Rejects a request that is not gRPC with 415.
#[expect(clippy::result_large_err, reason = "the error is the response")]
fn require_grpc(request: &mut Request) -> Result<(), Response> {
    if is_grpc(request) {
        return Ok(());
    }
    let detail = "this port speaks gRPC: send content-type application/grpc over HTTP/2";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).into_response())
}

fn is_grpc(request: &Request) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}
