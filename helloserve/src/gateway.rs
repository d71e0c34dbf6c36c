//! The gateway's parts, made once at start and shared by every request.

use std::{error::Error, time::Duration};

use service::{Identity, Instance};

use crate::{
    admission::Admission,
    answer::Answers,
    config::Config,
    routes::Routes,
    upstream::{dns::RotatingResolver, http::HttpUpstream},
};

/// What a request needs on its way.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) admission: Admission,
    pub(crate) answers: Answers,
    pub(crate) routes: Routes,
    pub(crate) http: HttpUpstream,
    /// How long a backend may take, unless the request allows less.
    pub(crate) upstream_timeout: Duration,
}

// === impl Gateway ===

impl Gateway {
    /// Begins to connect to the gRPC backends; needs none of the backends to be there.
    ///
    /// # Errors
    ///
    /// When a client cannot be set up. Call within a tokio runtime.
    pub(crate) fn new(config: Config, instance: &Instance) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let Config {
            grpc_target,
            grpc_service_config,
            grpc_routes,
            grpc_call_metrics,
            zone,
            http_target,
            http_dns_server,
            upstream_timeout,
            max_concurrent_requests,
        } = config;
        let Identity { version, hostname } = &instance.identity;
        let routes = Routes::new(
            &grpc_target,
            &grpc_service_config,
            grpc_routes,
            &zone,
            grpc_call_metrics,
            &instance.metrics,
        )?;
        let http = HttpUpstream::new(&http_target, RotatingResolver::new(http_dns_server), upstream_timeout);
        Ok(Self {
            admission: Admission::new(max_concurrent_requests.get(), &instance.metrics),
            answers: Answers::new(version, hostname),
            routes,
            http,
            upstream_timeout,
        })
    }
}
