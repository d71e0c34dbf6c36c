//! The state that all requests share, created once at start.

use std::time::Duration;

use service::{Identity, Instance};

use crate::{
    admission::Admission,
    config::Config,
    grpc_routes::Routes,
    upstream::{http::HttpUpstream, resolver::RotatingResolver},
};

/// The state of the handlers.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) identity: Identity,
    pub(crate) admission: Admission,
    pub(crate) routes: Routes,
    pub(crate) http: HttpUpstream,
    /// True if callers may select a route.
    pub(crate) route_selection: bool,
    /// The longest time that a backend has, unless the request allows less.
    pub(crate) upstream_timeout: Duration,
}

// === impl Gateway ===

impl Gateway {
    /// Creates the upstreams, which start to connect. No backend needs to be reachable yet.
    ///
    /// # Errors
    ///
    /// If a client cannot be created. Call within a tokio runtime.
    pub(crate) fn new(
        config: Config,
        instance: &Instance,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let metrics = &instance.metrics;
        let resolver = RotatingResolver::new(&config.http_target, config.http_dns_server, metrics);
        Ok(Self {
            identity: instance.identity.clone(),
            admission: Admission::new(&config, metrics),
            http: HttpUpstream::new(&config.http_target, resolver, config.upstream_timeout, metrics)?,
            route_selection: config.route_selection,
            upstream_timeout: config.upstream_timeout,
            routes: Routes::new(config, metrics)?,
        })
    }
}
