//! The gateway's parts, made once at start and shared by every request.

use std::{error::Error, time::Duration};

use balanced_channel::Channel;
use service::{Identity, Instance};

use crate::{
    admission::Admission,
    answer::Answers,
    config::Config,
    upstream::{dns::RotatingResolver, grpc::GrpcUpstream, http::HttpUpstream},
};

/// What a request needs on its way.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) admission: Admission,
    pub(crate) answers: Answers,
    pub(crate) grpc: GrpcUpstream,
    pub(crate) http: HttpUpstream,
    /// How long a backend may take, unless the request allows less.
    pub(crate) upstream_timeout: Duration,
}

// === impl Gateway ===

impl Gateway {
    /// Begins to connect to the gRPC backend; needs none of the backends to be there.
    ///
    /// # Errors
    ///
    /// When a client cannot be set up. Call within a tokio runtime.
    pub(crate) fn new(config: Config, instance: &Instance) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let Config { grpc_target, http_target, http_dns_server, upstream_timeout, max_concurrent_requests } =
            config;
        let Identity { version, hostname } = &instance.identity;
        let channel = Channel::new(grpc_target.as_str())?;
        let http = HttpUpstream::new(http_target, RotatingResolver::new(http_dns_server), upstream_timeout)
            .map_err(|error| format!("the HTTP client cannot be set up: {error}"))?;
        Ok(Self {
            admission: Admission::new(max_concurrent_requests.get(), &instance.metrics),
            answers: Answers::new(version, hostname),
            grpc: GrpcUpstream::new(&grpc_target, channel),
            http,
            upstream_timeout,
        })
    }
}
