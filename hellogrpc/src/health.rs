//! Health, as clients and kubelets ask for it: `grpc.health.v1.Health`, for the server (`""`) and for `hello.Hello`.

use proto::hello::hello_server::HelloServer;
use service::Shutdown;
use tonic::server::NamedService as _;
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health, HealthServer},
    server::{HealthReporter, health_reporter},
};

use crate::greeter::Greeter;

/// What has a status: the server as a whole, and its service.
const SERVICES: [&str; 2] = ["", HelloServer::<Greeter>::NAME];

/// The service, and who tells it what to say. It starts with SERVING.
pub(crate) async fn service() -> (HealthServer<impl Health>, HealthReporter) {
    let (reporter, server) = health_reporter();
    set(&reporter, ServingStatus::Serving).await;
    (server, reporter)
}

/// Says NOT_SERVING when the program drains, and ends all watches when it closes: they would never end by
/// themselves, and hold their connections open until the shutdown times out.
pub(crate) async fn follow(mut reporter: HealthReporter, shutdown: Shutdown) {
    shutdown.draining().await;
    set(&reporter, ServingStatus::NotServing).await;
    shutdown.closing().await;
    for service in SERVICES {
        reporter.clear_service_status(service).await;
    }
}

async fn set(reporter: &HealthReporter, status: ServingStatus) {
    for service in SERVICES {
        reporter.set_service_status(service, status).await;
    }
}
