//! ticketing, a gRPC backend with a database: the customers of a ticketing system.
//!
//! - `customers`: `ticketing.CustomerController`, the methods.
//! - `validation`: what a request may contain.
//! - `idempotency`: the key that makes a repeated Create return the first one's customer.
//! - `store`: the customers in SQLite or PostgreSQL.
//! - `availability`: migrates the database, probes it, and sets readiness.
//! - `pool_metrics`: the connections to the database.
//!
//! [`service::grpc`] adds health, reflection, metrics of calls and the header `hostname`, and limits connections.

mod availability;
mod config;
mod customers;
mod idempotency;
mod pool_metrics;
mod store;
mod validation;

use std::sync::Arc;

use proto::ticketing::customer_controller_server::CustomerControllerServer;
use service::{Instance, Outcome, Program, grpc};
use tokio::net::TcpListener;
use tonic::service::Routes;

use self::{availability::Availability, customers::Customers, store::Store};
pub use config::Config;

/// The program: its name, version and port.
pub const PROGRAM: Program = Program {
    name: "ticketing",
    about: "A gRPC backend with a database: answers ticketing.CustomerController",
    version: "v1-ticketing",
    port: 12345,
};

/// Serves on `listener` until the instance shuts down, then until the calls in flight are answered. A PostgreSQL server
/// that is away does not end the program: calls get UNAVAILABLE and readiness is false until it is back.
///
/// # Errors
///
/// Fails if the database URL cannot be parsed, or if the SQLite file cannot be opened.
pub async fn serve(config: Config, listener: TcpListener, instance: Instance) -> Outcome {
    // Set before the first wait for the database: without it the admin port answers that the program is ready.
    let (sender, ready) = Availability::readiness();
    instance.admin.set_readiness(ready);
    let store = Arc::new(Store::open(&config, &instance.metrics).await?);
    pool_metrics::register(&instance.metrics, &store);
    let availability = Availability::watch(Arc::clone(&store), sender).await;
    let max = config.server.max_message_size;
    let customers = Customers::new(&instance.identity, Arc::clone(&store), availability, max);
    let service = CustomerControllerServer::new(customers)
        .max_decoding_message_size(max)
        .max_encoding_message_size(max);
    let routes = Routes::new(service);
    let result = grpc::serve(config.server, routes, proto::TICKETING_DESCRIPTORS, listener, instance).await;
    store.close().await;
    result
}
