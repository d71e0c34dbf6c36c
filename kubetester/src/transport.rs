//! The transports of a call: HTTP and gRPC.
//!
//! [`Transport`] is a target that is ready to be called. It creates the [`Caller`]s, one for each caller of the engine.

mod caller;
pub(crate) mod cause;
mod grpc;
mod http_client;
mod reply;
mod setup;
mod tls;

use std::{num::NonZeroUsize, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;

pub use self::{
    caller::Caller,
    grpc::{GrpcOptions, StreamCaller},
    http_client::HttpOptions,
    reply::{CallError, Content, HttpContent, Reply},
    setup::{Setup, header},
    tls::Tls,
};
use crate::{
    conditions::EndpointState,
    method::{MethodError, MethodOptions},
    pod_name::PodSource,
    target::{Endpoint, Target},
};

/// A target that can be called.
pub struct Transport(Kind);

enum Kind {
    Http(http_client::HttpTransport),
    Grpc(grpc::GrpcTransport),
}

/// The reason why a target cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// The request does not fit the target.
    #[error("{0}")]
    Usage(String),
    /// The peer cannot be reached.
    #[error("cannot reach {target}: {why}")]
    Peer {
        /// The target.
        target: String,
        /// The cause.
        why: String,
    },
    /// The server is reached, but its methods cannot be read.
    #[error("cannot call {method} of {target}: {why}")]
    UnknownMethods {
        /// The target.
        target: String,
        /// The method.
        method: String,
        /// The cause.
        why: String,
    },
}

/// Makes one HTTP request. Returns the first 64 KiB of the body of a success, or a sentence about any other response.
///
/// # Errors
///
/// Fails if the endpoint cannot be reached.
pub async fn fetch(
    endpoint: Endpoint,
    setup: Setup,
    time_limit: Duration,
) -> Result<Result<Bytes, String>, Unreachable> {
    // The load may have a method of its own.
    let setup = Setup { method: MethodOptions::default(), request: None, ..setup };
    let mut caller = http_client::HttpTransport::connect(endpoint, setup, Some(time_limit)).await?.caller();
    let fetched = timeout(time_limit, caller.fetch()).await;
    let late = |_| Err(format!("no answer within {}", humantime::format_duration(time_limit)));
    Ok(fetched.unwrap_or_else(late))
}

// === impl Transport ===

impl Transport {
    /// Prepares the target. With `time_limit` it is resolved and connected to once, so that an unreachable target is an error
    /// before the first call.
    ///
    /// # Errors
    ///
    /// Fails if the target cannot be reached within `time_limit`, or if the setup does not fit it.
    pub async fn open(
        target: &Target,
        setup: Setup,
        time_limit: Option<Duration>,
    ) -> Result<Self, Unreachable> {
        setup.check(target)?;
        let kind = match target {
            Target::Http(endpoint) => {
                Kind::Http(http_client::HttpTransport::connect(endpoint.clone(), setup, time_limit).await?)
            }
            Target::Grpc(endpoint) => {
                Kind::Grpc(grpc::GrpcTransport::connect_plain(endpoint, setup, time_limit).await?)
            }
            Target::Tonic(addresses) => Kind::Grpc(grpc::GrpcTransport::connect_tonic(addresses, setup)?),
            Target::Balanced(name) => {
                let reached = grpc::GrpcTransport::connect_balanced(name, setup, time_limit).await;
                Kind::Grpc(reached.map_err(|error| error.with_hint(target))?)
            }
        };
        if let (Kind::Grpc(server), Some(time_limit)) = (&kind, time_limit) {
            server.prepare_method(target, time_limit).await?;
        }
        Ok(Self(kind))
    }

    /// Returns the endpoints of a balanced target as they are now; none for other targets.
    pub fn endpoints(&self) -> Vec<EndpointState> {
        match &self.0 {
            Kind::Http(_) => Vec::new(),
            Kind::Grpc(server) => server.endpoints(),
        }
    }

    /// Returns callers that hold streams, one stream each.
    ///
    /// # Errors
    ///
    /// Returns a sentence if the method does not stream responses.
    pub fn stream_callers(
        &self,
        target: &Target,
        count: NonZeroUsize,
    ) -> Result<Vec<StreamCaller>, Unreachable> {
        let Kind::Grpc(server) = &self.0 else {
            let why = format!("{target} has no gRPC streams; write grpc://host:port or dns:///host:port");
            return Err(Unreachable::Usage(why));
        };
        let callers = (0..count.get()).map(|index| server.stream_caller(index));
        callers.collect::<Result<_, _>>().map_err(|method| {
            let why = "answers with one message; --streams needs a method that streams responses, see";
            Unreachable::Usage(format!("{method} {why} `kubetester list {target}`"))
        })
    }

    /// Returns the gRPC method as `pkg.Service/Method`; empty for HTTP.
    pub fn method(&self) -> String {
        match &self.0 {
            Kind::Http(_) => String::new(),
            Kind::Grpc(server) => server.method(),
        }
    }

    /// Returns where the names of pods are from, once a response of a gRPC target has decided that.
    pub fn pod_source(&self) -> Option<PodSource> {
        match &self.0 {
            Kind::Http(_) => None,
            Kind::Grpc(server) => server.pod_source(),
        }
    }

    /// Returns the headers of an answer without the header of `--pod-from`, if there was one.
    pub fn seen_headers(&self) -> Vec<String> {
        match &self.0 {
            Kind::Http(server) => server.seen_headers(),
            Kind::Grpc(server) => server.seen_headers(),
        }
    }

    /// Returns the callers of a load.
    pub fn callers(&self, count: NonZeroUsize) -> Vec<Caller> {
        (0..count.get())
            .map(|index| match &self.0 {
                Kind::Http(server) => Caller::Http(server.caller()),
                Kind::Grpc(server) => Caller::Grpc(server.caller(index)),
            })
            .collect()
    }
}

// === impl Unreachable ===

impl Unreachable {
    /// Adds the spelling with a scheme to the error of a target without one.
    fn with_hint(self, to: &Target) -> Self {
        match (self, to.hint()) {
            (Self::Peer { target, why }, Some(hint)) => Self::Peer { target, why: format!("{why}; {hint}") },
            (error, _) => error,
        }
    }
}

impl From<MethodError> for Unreachable {
    fn from(error: MethodError) -> Self {
        Self::Usage(error.to_string())
    }
}
