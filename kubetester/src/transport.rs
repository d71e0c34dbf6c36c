//! The transports of a call: HTTP and gRPC.
//!
//! [`Transport`] is a target made ready; it makes the [`Caller`]s, one for each caller of the engine.

mod caller;
pub(crate) mod cause;
mod grpc;
mod http_client;
mod reply;
mod tls;

use std::{num::NonZeroUsize, time::Duration};

use ::http::{HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, header::HOST, uri::Authority};
use bytes::Bytes;
use tokio::time::timeout;

pub use self::{
    caller::Caller,
    grpc::{GrpcOptions, StreamCaller},
    http_client::HttpOptions,
    reply::{CallError, Content, HttpContent, Reply},
    tls::Tls,
};
use crate::{
    conditions::EndpointState,
    method::{Choice, Unfit},
    pod_name::{PodFrom, PodSource},
    target::{Endpoint, Target},
};

/// The headers that gRPC and HTTP/2 set themselves, beside those that begin with `grpc-`.
const RESERVED: [&str; 8] = [
    "connection",
    "content-length",
    "content-type",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// The settings that all calls of a load share.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Sent with each call; for gRPC as metadata.
    pub headers: HeaderMap,
    /// The place where an answer names its pod.
    pub pod_from: PodFrom,
    /// Connections that the callers share; only a plain gRPC target has the choice.
    pub connections: Option<NonZeroUsize>,
    /// Which method is called, of a gRPC target, and what is sent.
    pub method: Choice,
    /// The method of an HTTP request. None: GET, or POST if something is sent.
    pub request: Option<HttpMethod>,
    /// The options for calls to HTTP targets.
    pub http: HttpOptions,
    /// The options for calls to gRPC targets.
    pub grpc: GrpcOptions,
    /// The TLS options.
    pub tls: Tls,
}

/// A target that can be called.
pub struct Transport(Kind);

enum Kind {
    Http(http_client::Server),
    Grpc(grpc::Server),
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
    let mut caller = http_client::Server::reach(endpoint, setup, Some(patience)).await?.caller();
    let fetched = timeout(patience, caller.fetch()).await;
    let late = |_| Err(format!("no answer within {}", humantime::format_duration(patience)));
    Ok(fetched.unwrap_or_else(late))
}

// === impl Setup ===

impl Setup {
    /// Refuses headers that gRPC sets itself.
    fn check_metadata(&self) -> Result<(), Unreachable> {
        let reserved =
            |name: &&HeaderName| RESERVED.contains(&name.as_str()) || name.as_str().starts_with("grpc-");
        match self.headers.keys().find(reserved) {
            Some(name) => {
                Err(Unreachable::Usage(format!("the header {name} is set by gRPC itself; leave it out")))
            }
            None => Ok(()),
        }
    }

    /// Takes the header `host`, which is the `:authority` of gRPC requests.
    fn take_authority(&mut self) -> Result<Option<Authority>, Unreachable> {
        let Some(host) = self.headers.remove(HOST) else { return Ok(None) };
        let authority = host.to_str().ok().and_then(|host| host.parse().ok());
        let wrong = || Unreachable::Usage(format!("the header host: {host:?} is no authority"));
        authority.ok_or_else(wrong).map(Some)
    }
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
        if setup.http != HttpOptions::default() && !matches!(target, Target::Http(_)) {
            let why = "--location, --http2 and --disable-keepalive are for http:// and https:// targets";
            return Err(Unreachable::Usage(format!("{target} is called by gRPC: {why}")));
        }
        if setup.grpc != GrpcOptions::default() && matches!(target, Target::Http(_)) {
            let why = "--max-message-size and --max-header-list-size are for gRPC targets";
            return Err(Unreachable::Usage(format!("{target} is called by HTTP: {why}")));
        }
        if !matches!(target, Target::Http(_)) {
            setup.check_metadata()?;
        }
        let kind = match target {
            Target::Http(endpoint) => {
                Kind::Http(http_client::Server::reach(endpoint.clone(), setup, patience).await?)
            }
            Target::Grpc(endpoint) => Kind::Grpc(grpc::Server::reach_plain(endpoint, setup, patience).await?),
            Target::Tonic(addresses) => Kind::Grpc(grpc::Server::reach_tonic(addresses, setup)?),
            Target::Balanced(name) => {
                let reached = grpc::Server::reach_balanced(name, setup, patience).await;
                Kind::Grpc(reached.map_err(|error| error.with_hint(target))?)
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

    /// Returns callers that hold streams, one stream each.
    ///
    /// # Errors
    ///
    /// A sentence, if the method does not stream responses.
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

// === impl Unreachable ===

impl Unreachable {
    /// Adds the other spelling of a target that has no scheme.
    fn with_hint(self, to: &Target) -> Self {
        match (self, to.hint()) {
            (Self::Peer { target, why }, Some(hint)) => Self::Peer { target, why: format!("{why}; {hint}") },
            (error, _) => error,
        }
    }
}

impl From<Unfit> for Unreachable {
    /// For what is known before anybody is asked.
    fn from(unfit: Unfit) -> Self {
        Self::Usage(unfit.to_string())
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
