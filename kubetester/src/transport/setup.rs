//! The settings of a load's calls, and the kinds of targets that they are for.

use std::num::NonZeroUsize;

use http::{HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, header::HOST, uri::Authority};

use super::{GrpcOptions, HttpOptions, Tls, Unreachable};
use crate::{method::MethodOptions, pod_name::PodFrom, target::Target};

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
    /// The headers of each call; for gRPC, its metadata.
    pub headers: HeaderMap,
    /// The place where an answer names its pod.
    pub pod_from: PodFrom,
    /// The number of connections that the callers share; only for plain gRPC targets.
    pub connections: Option<NonZeroUsize>,
    /// The method of a gRPC target, and the messages that are sent.
    pub method: MethodOptions,
    /// The method of HTTP requests. `None` is GET, or POST if there is a body.
    pub request: Option<HttpMethod>,
    /// The options for calls to HTTP targets.
    pub http: HttpOptions,
    /// The options for calls to gRPC targets.
    pub grpc: GrpcOptions,
    /// The TLS options.
    pub tls: Tls,
}

/// Parses `Name: value`, the value of `--header`.
///
/// # Errors
///
/// Fails if there is no colon, or a character that a header cannot have.
pub fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) =
        text.split_once(':').ok_or_else(|| format!("{text:?} has no colon; write 'Name: value'"))?;
    let name = name.trim().parse().map_err(|_| format!("{:?} cannot be a header's name", name.trim()))?;
    let value = value.trim().parse().map_err(|_| format!("{:?} cannot be a header's value", value.trim()))?;
    Ok((name, value))
}

// === impl Setup ===

impl Setup {
    /// Checks that every setting is for this kind of target.
    pub(super) fn check(&self, target: &Target) -> Result<(), Unreachable> {
        let http = matches!(target, Target::Http(_));
        let encrypted = match target {
            Target::Http(endpoint) | Target::Grpc(endpoint) => endpoint.tls,
            _ => true,
        };
        let problem = if self.connections.is_some() && !matches!(target, Target::Grpc(_)) {
            let why = match target {
                Target::Http(_) => "over HTTP/1.1 each caller has a connection of its own; use -c",
                Target::Tonic(_) => "tonic's balancer has one to each address",
                _ => "a balanced channel decides about its connections itself",
            };
            format!("--connections is for grpc:// targets: {why}")
        } else if self.tls.is_set() && !encrypted {
            format!("no TLS is spoken to {target}; write https:// or grpcs://, or leave the TLS options out")
        } else if self.method.method.is_some() && http {
            format!("{target} has no gRPC methods; leave --method out, or write grpc://host:port")
        } else if self.request.is_some() && !http {
            format!("{target} is called by gRPC, which has no --request; use --method")
        } else if self.http != HttpOptions::default() && !http {
            let why = "--location, --http2 and --disable-keepalive are for http:// and https:// targets";
            format!("{target} is called by gRPC: {why}")
        } else if self.grpc != GrpcOptions::default() && http {
            let why = "--max-message-size and --max-header-list-size are for gRPC targets";
            format!("{target} is called by HTTP: {why}")
        } else {
            return if http { Ok(()) } else { self.check_metadata() };
        };
        Err(Unreachable::Usage(problem))
    }

    /// Checks that no header is one that gRPC sets itself.
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

    /// Removes the header `host`, which is the `:authority` of gRPC requests.
    pub(super) fn take_authority(&mut self) -> Result<Option<Authority>, Unreachable> {
        let Some(host) = self.headers.remove(HOST) else { return Ok(None) };
        let authority = host.to_str().ok().and_then(|host| host.parse().ok());
        let wrong = || Unreachable::Usage(format!("the header host: {host:?} is no authority"));
        authority.ok_or_else(wrong).map(Some)
    }
}
