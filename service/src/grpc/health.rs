//! The service `grpc.health.v1.Health`, with a status for the server (`""`) and for each of its services.

use tonic_health::{
    ServingStatus,
    pb::health_server::{Health, HealthServer},
    server::{HealthReporter, health_reporter},
};

use crate::Shutdown;

/// The service name that stands for the whole server.
const SERVER: &str = "";

/// Returns the service, and the reporter that sets its statuses. The initial status is SERVING.
pub(super) async fn service(services: &[String]) -> (HealthServer<impl Health>, HealthReporter) {
    let (reporter, server) = health_reporter();
    set(&reporter, services, ServingStatus::Serving).await;
    (server, reporter)
}

/// Reports NOT_SERVING when the program drains, and ends all watches when it closes: otherwise they would keep their
/// connections open until the shutdown times out. They end with OK. The health protocol has clients watch again after
/// any status but UNIMPLEMENTED, OK included (`health.proto`), and they do so elsewhere, because of the GOAWAY.
pub(super) async fn follow_shutdown(mut reporter: HealthReporter, services: Vec<String>, shutdown: Shutdown) {
    shutdown.draining().await;
    set(&reporter, &services, ServingStatus::NotServing).await;
    shutdown.closing().await;
    for service in names(&services) {
        reporter.clear_service_status(service).await;
    }
}

async fn set(reporter: &HealthReporter, services: &[String], status: ServingStatus) {
    for service in names(services) {
        reporter.set_service_status(service, status).await;
    }
}

fn names(services: &[String]) -> impl Iterator<Item = &str> {
    services.iter().map(String::as_str).chain([SERVER])
}
