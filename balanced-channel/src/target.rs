//! Targets in the syntax of the [gRPC naming document].
//!
//! [gRPC naming document]: https://github.com/grpc/grpc/blob/master/doc/naming.md

mod parse;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use http::uri::Authority;
use parse::{check_host, dns_server, ip_literal, split_port};

/// The port of a target that names none, as in the gRPC naming document.
const DEFAULT_PORT: u16 = 443;
/// The port of an `http://` target that names none.
const DEFAULT_HTTP_PORT: u16 = 80;

/// The target of a channel: the service, and the resolver that finds its endpoints.
///
/// | written as | endpoints |
/// | --- | --- |
/// | `dns:///host:port`, `dns:host:port`, `host:port` | every address of the name, looked up repeatedly |
/// | `dns://server:port/host:port` | the same, from that DNS server (an IP address) |
/// | `ipv4:a:port,b:port` | the addresses given |
/// | `ipv6:[a]:port,[b]:port` | the addresses given |
/// | `kubernetes:///service.namespace:port`, `kubernetes:///service:port` | the pods of the service, from its EndpointSlices (feature `kubernetes`) |
/// | `http://host:port` | as `dns:///host:port`; the port is 80 when absent |
/// | `https://host:port` | the same with TLS; the port is 443 when absent |
///
/// The default port is 443, as in gRPC. The default namespace of a Kubernetes service is that of the client's own
/// account; its port is required: the number or name of the port of the pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    text: String,
    authority: Authority,
    /// True if the target requires TLS.
    pub(crate) secure: bool,
    pub(crate) resolver_target: ResolverTarget,
}

/// The part of a target that chooses the resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ResolverTarget {
    /// A DNS name, and the DNS server to query; `None` for the system's servers.
    Dns { server: Option<SocketAddr>, host: String, port: u16 },
    /// Addresses that never change.
    Fixed(Vec<SocketAddr>),
    /// A service whose EndpointSlices are watched.
    #[cfg(feature = "kubernetes")]
    Kubernetes(crate::resolver::kubernetes::Service),
}

/// A target is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("target \"{target}\" {reason}")]
pub struct TargetError {
    target: String,
    reason: String,
}

// === impl Target ===

impl Target {
    /// Returns the value of the `:authority` header: the host and port of the target, or the first address.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Returns the target as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the target with its scheme, for metrics (gRFC A66).
    pub(crate) fn canonical(&self) -> String {
        // A host before a port, or an address in brackets, is not a scheme.
        let scheme = self.text.split_once(':').filter(|(scheme, rest)| {
            scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
                && !rest.bytes().all(|byte| byte.is_ascii_digit())
        });
        if scheme.is_some() { self.text.clone() } else { format!("dns:///{}", self.text) }
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty: write dns:///host:port".into());
        }
        if let Some(list) = text.strip_prefix("ipv4:") {
            return Self::fixed(text, list, IpAddr::is_ipv4);
        }
        if let Some(list) = text.strip_prefix("ipv6:") {
            return Self::fixed(text, list, IpAddr::is_ipv6);
        }
        if let Some(rest) = text.strip_prefix("http://") {
            let host = rest.strip_suffix('/').unwrap_or(rest);
            return Self::dns(text, None, host, DEFAULT_HTTP_PORT);
        }
        if let Some(rest) = text.strip_prefix("https://") {
            let host = rest.strip_suffix('/').unwrap_or(rest);
            let target = Self::dns(text, None, host, DEFAULT_PORT)?;
            return Ok(Self { secure: true, ..target });
        }
        if let Some(rest) = text.strip_prefix("dns:") {
            let (server, host) = match rest.strip_prefix("//") {
                None => ("", rest),
                Some(rest) => rest.split_once('/').ok_or("has no host: write dns:///host:port")?,
            };
            let server = if server.is_empty() { None } else { Some(dns_server(server)?) };
            return Self::dns(text, server, host, DEFAULT_PORT);
        }
        if let Some(rest) = text.strip_prefix("kubernetes:") {
            return Self::kubernetes(text, rest);
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(format!(
                "has the unknown scheme \"{scheme}\": the known ones are dns, ipv4, ipv6, kubernetes, http and https"
            ));
        }
        Self::dns(text, None, text, DEFAULT_PORT)
    }

    fn dns(text: &str, server: Option<SocketAddr>, host: &str, default_port: u16) -> Result<Self, String> {
        let (host, port) = split_port(host)?;
        let port = port.unwrap_or(default_port);
        if let Some(address) = ip_literal(host)? {
            return Self::with(text, ResolverTarget::Fixed(vec![SocketAddr::new(address, port)]), host, port);
        }
        check_host(host)?;
        Self::with(text, ResolverTarget::Dns { server, host: host.to_owned(), port }, host, port)
    }

    fn fixed(text: &str, list: &str, family: fn(&IpAddr) -> bool) -> Result<Self, String> {
        let mut addresses = Vec::new();
        for item in list.split(',') {
            let (host, port) = split_port(item)?;
            let address = ip_literal(host)?
                .filter(family)
                .ok_or_else(|| format!("holds \"{item}\", which is not an address of its scheme"))?;
            addresses.push(SocketAddr::new(address, port.unwrap_or(DEFAULT_PORT)));
        }
        let first = addresses[0];
        let host = if first.is_ipv6() { format!("[{}]", first.ip()) } else { first.ip().to_string() };
        Self::with(text, ResolverTarget::Fixed(addresses), &host, first.port())
    }

    #[cfg(feature = "kubernetes")]
    fn kubernetes(text: &str, rest: &str) -> Result<Self, String> {
        let service = crate::resolver::kubernetes::Service::parse(rest)?;
        let authority = Authority::try_from(service.authority())
            .map_err(|error| format!("has a service that is not valid in HTTP: {error}"))?;
        Ok(Self {
            text: text.to_owned(),
            authority,
            secure: false,
            resolver_target: ResolverTarget::Kubernetes(service),
        })
    }

    #[cfg(not(feature = "kubernetes"))]
    fn kubernetes(_: &str, _: &str) -> Result<Self, String> {
        Err("needs the Kubernetes API, which is not built in (feature `kubernetes` of balanced-channel)"
            .into())
    }

    fn with(text: &str, resolver_target: ResolverTarget, host: &str, port: u16) -> Result<Self, String> {
        // A trailing dot makes a name absolute in DNS; HTTP servers do not expect it.
        let host = host.strip_suffix('.').unwrap_or(host);
        let authority = Authority::try_from(format!("{host}:{port}"))
            .map_err(|error| format!("has a host that is not valid in HTTP: {error}"))?;
        Ok(Self { text: text.to_owned(), authority, secure: false, resolver_target })
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        Self::parse(text).map_err(|reason| TargetError { target: text.to_owned(), reason })
    }
}

impl TryFrom<&str> for Target {
    type Error = TargetError;

    fn try_from(text: &str) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl TryFrom<String> for Target {
    type Error = TargetError;

    fn try_from(text: String) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl TryFrom<&String> for Target {
    type Error = TargetError;

    fn try_from(text: &String) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
