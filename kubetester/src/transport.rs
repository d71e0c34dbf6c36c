//! How a call travels: HTTP/1.1 or gRPC.
//!
//! [`Transport`] is a target made ready; it makes the [`Caller`]s, one for each caller of the engine.

pub(crate) mod cause;
mod grpc;
mod http1;
mod tls;

use std::{net::SocketAddr, num::NonZeroUsize, time::Duration};

use ::http::{HeaderMap, HeaderName, HeaderValue, Method as HttpMethod};
use bytes::Bytes;
use tokio::time::timeout;

pub use self::tls::Tls;
use crate::{
    conditions::EndpointState,
    engine::{Call, Outcome},
    method::{Choice, Unfit},
    pod_name::PodFrom,
    sanitize,
    target::{Endpoint, Target},
};

/// The settings that all calls of a load share.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Sent with each call; for gRPC as metadata.
    pub headers: HeaderMap,
    /// Where an answer names its pod.
    pub pod_from: PodFrom,
    /// Connections that the callers share; only a plain gRPC target has the choice.
    pub connections: Option<NonZeroUsize>,
    /// Which method is called, of a gRPC target, and what is sent.
    pub method: Choice,
    /// The method of an HTTP request. None: GET, or POST if something is sent.
    pub request: Option<HttpMethod>,
    /// How TLS is spoken, where it is.
    pub tls: Tls,
}

/// A target that can be called.
pub struct Transport(Kind);

enum Kind {
    Http(http1::Server),
    Grpc(grpc::Server),
}

/// Makes calls, one after the other.
pub enum Caller {
    /// HTTP/1.1, over a connection of its own.
    Http(http1::Caller),
    /// gRPC, over connections that all callers share.
    Grpc(grpc::Caller),
}

/// The response to a greeting. Fields that the response does not have are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeted {
    /// The name that was greeted.
    pub name: String,
    /// The version of who answered.
    pub version: String,
    /// The pod that answered.
    pub hostname: String,
    /// The answer as JSON, of a method that is not this system's own.
    pub said: Option<String>,
    /// The other end of the connection, where it is known.
    pub peer: Option<SocketAddr>,
}

/// Why a target cannot be called at all.
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
    /// Somebody is there who does not say what there is to call.
    #[error("cannot call {method} of {target}: {why}")]
    Untold {
        /// The target.
        target: String,
        /// The method.
        method: String,
        /// The cause.
        why: String,
    },
}

/// Asks once and returns what a success has in its body, at most 64 KiB of it; or, in a sentence, what else came.
///
/// # Errors
///
/// When nobody is there.
pub async fn fetch(
    endpoint: Endpoint,
    setup: Setup,
    patience: Duration,
) -> Result<Result<Bytes, String>, Unreachable> {
    // What is measured may be sent otherwise.
    let setup = Setup { method: Choice::default(), request: None, ..setup };
    let mut caller = http1::Server::reach(endpoint, setup, Some(patience)).await?.caller();
    let fetched = timeout(patience, caller.fetch()).await;
    let late = |_| Err(format!("no answer within {}", humantime::format_duration(patience)));
    Ok(fetched.unwrap_or_else(late))
}

// === impl Transport ===

impl Transport {
    /// Makes the target ready. With `patience` it resolves and connects once, so that a target that is not
    /// there is told before the first call.
    ///
    /// # Errors
    ///
    /// When the target cannot be reached within `patience`, or the setup does not fit it.
    pub async fn open(
        target: &Target,
        setup: Setup,
        patience: Option<Duration>,
    ) -> Result<Self, Unreachable> {
        if setup.connections.is_some() && !matches!(target, Target::Grpc(_)) {
            let why = match target {
                Target::Http(_) => "over HTTP/1.1 each caller has a connection of its own; use -c",
                Target::Tonic(_) => "tonic's balancer has one to each address",
                _ => "a balanced channel decides about its connections itself",
            };
            return Err(Unreachable::Usage(format!("--connections is for grpc:// targets: {why}")));
        }
        if let Target::Http(endpoint) | Target::Grpc(endpoint) = target
            && !endpoint.tls
            && setup.tls.is_set()
        {
            let why = format!(
                "no TLS is spoken to {target}; write https:// or grpcs://, or leave the TLS options out"
            );
            return Err(Unreachable::Usage(why));
        }
        if setup.method.method.is_some() && matches!(target, Target::Http(_)) {
            let why = format!("{target} has no gRPC methods; leave --method out, or write grpc://host:port");
            return Err(Unreachable::Usage(why));
        }
        if setup.request.is_some() && !matches!(target, Target::Http(_)) {
            let why = format!("{target} is called by gRPC, which has no --request; use --method");
            return Err(Unreachable::Usage(why));
        }
        let kind = match target {
            Target::Http(endpoint) => {
                Kind::Http(http1::Server::reach(endpoint.clone(), setup, patience).await?)
            }
            Target::Grpc(endpoint) => Kind::Grpc(grpc::Server::reach_plain(endpoint, setup, patience).await?),
            Target::Tonic(addresses) => Kind::Grpc(grpc::Server::reach_tonic(addresses, setup)?),
            Target::Balanced(target) => {
                Kind::Grpc(grpc::Server::reach_balanced(target, setup, patience).await?)
            }
        };
        if let (Kind::Grpc(server), Some(patience)) = (&kind, patience) {
            server.learn(target, patience).await?;
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

    /// The callers of a load.
    pub fn callers(&self, count: NonZeroUsize) -> Vec<Caller> {
        (0..count.get())
            .map(|index| match &self.0 {
                Kind::Http(server) => Caller::Http(server.caller()),
                Kind::Grpc(server) => Caller::Grpc(server.caller(index)),
            })
            .collect()
    }
}

// === impl Caller ===

impl Caller {
    /// Calls, and says who answered, or why nobody did. `name` is who is greeted over HTTP; over gRPC the request says
    /// it.
    ///
    /// # Errors
    ///
    /// One sentence.
    pub async fn greet(&mut self, name: &str) -> Result<Greeted, String> {
        match self {
            Self::Http(caller) => caller.greet(name).await,
            Self::Grpc(caller) => caller.greet().await,
        }
    }
}

// === impl Unreachable ===

impl From<Unfit> for Unreachable {
    /// For what is known before anybody is asked.
    fn from(unfit: Unfit) -> Self {
        Self::Usage(unfit.to_string())
    }
}

impl Call for Caller {
    async fn call(&mut self) -> Outcome {
        let Outcome { pod, error } = match self {
            Self::Http(caller) => caller.call().await,
            Self::Grpc(caller) => caller.call().await,
        };
        Outcome { pod: pod.map(sanitize::name), error: error.map(sanitize::reason) }
    }
}

/// Reads `Name: value`, as `--header` takes it.
///
/// # Errors
///
/// When there is no colon, or a character that a header cannot have.
pub fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) =
        text.split_once(':').ok_or_else(|| format!("{text:?} has no colon; write 'Name: value'"))?;
    let name = name.trim().parse().map_err(|_| format!("{:?} cannot be a header's name", name.trim()))?;
    let value = value.trim().parse().map_err(|_| format!("{:?} cannot be a header's value", value.trim()))?;
    Ok((name, value))
}
