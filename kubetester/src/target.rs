//! Parses the target on the command line.

use std::{
    fmt,
    net::{AddrParseError, SocketAddr},
    str::FromStr,
};

use url::{Host, Url};

/// The prefix of a target of tonic's own balancer.
const TONIC: &str = "tonic:";

/// The schemes of a balanced channel's targets. They need no `//`.
const SCHEMES: [&str; 6] = ["dns", "ipv4", "ipv6", "kubernetes", "unix", "xds"];

/// The target of calls, and the protocol that they use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `http://host:port/path?query`, or `https://`.
    Http(Endpoint),
    /// `grpc://host:port`, or `grpcs://`: gRPC over one connection, like a client without a balancer.
    Grpc(Endpoint),
    /// `tonic:address:port,address:port`: gRPC over tonic's own `Channel::balance_list`, for comparison.
    Tonic(Vec<SocketAddr>),
    /// Anything else: a target of the balanced channel.
    Balanced(String),
}

/// A host, its port, and the path of requests to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The name or address; an IPv6 address is without brackets.
    pub host: String,
    /// The port; the default port of the scheme if the URL has none.
    pub port: u16,
    /// The path and query; `/` if the URL has none.
    pub path: String,
    /// True if TLS is used.
    pub tls: bool,
}

/// A target that cannot be parsed, with the cause.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not a target: {why}")]
pub struct InvalidTarget {
    text: String,
    why: String,
}

// === impl Target ===

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |why: String| InvalidTarget { text: text.to_owned(), why };
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("http" | "https") => endpoint(text).map(Self::Http).map_err(wrong),
            Some("grpc" | "grpcs") => {
                let endpoint = endpoint(text).map_err(wrong)?;
                if matches!(endpoint.path.as_str(), "" | "/") {
                    return Ok(Self::Grpc(endpoint));
                }
                Err(wrong("a gRPC target has no path; write grpc://host:port".to_owned()))
            }
            _ if text.starts_with(TONIC) => {
                let list = text[TONIC.len()..].split(',').map(str::parse).collect::<Result<_, _>>();
                list.map(Self::Tonic).map_err(|error: AddrParseError| {
                    wrong(format!("{error}; write tonic:10.0.0.1:80,10.0.0.2:80"))
                })
            }
            _ if text.trim().is_empty() => {
                Err(wrong("write http://host/path, grpc://host:port or dns:///host:port".to_owned()))
            }
            _ if is_bare(text) && text.contains('/') => {
                let (authority, _) = text.split_once('/').unwrap_or((text, ""));
                Err(wrong(format!("for HTTP write http://{text}, for gRPC {authority}")))
            }
            _ => Ok(Self::Balanced(text.to_owned())),
        }
    }
}

impl Target {
    /// Returns a note with the HTTP spelling if the target has no scheme and is therefore called over gRPC.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Balanced(text) if is_bare(text) => {
                Some(format!("{text} is taken as gRPC; for HTTP write http://{text}/"))
            }
            _ => None,
        }
    }
}

/// Returns whether a target is `host:port` without a scheme.
fn is_bare(text: &str) -> bool {
    let scheme = text.split(':').next().unwrap_or_default().to_ascii_lowercase();
    !text.contains("://") && !SCHEMES.contains(&scheme.as_str())
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(endpoint) => write!(f, "{}{}", endpoint.root("http"), endpoint.path),
            Self::Grpc(endpoint) => f.write_str(&endpoint.root("grpc")),
            Self::Tonic(addresses) => {
                let list: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
                write!(f, "{TONIC}{}", list.join(","))
            }
            Self::Balanced(target) => f.write_str(target),
        }
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// Returns `scheme://host:port`, with an `s` after the scheme for TLS.
    pub fn root(&self, scheme: &str) -> String {
        format!("{scheme}{}://{}", if self.tls { "s" } else { "" }, self.authority())
    }

    /// Returns `host:port`, with brackets around an IPv6 address.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a user name or password in it is not sent; use --header".to_owned());
    }
    let host = match url.host() {
        Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        _ => return Err("it names no host".to_owned()),
    };
    let port = match url.port_or_known_default() {
        Some(0) => return Err("its port is 0; ports go from 1 to 65535".to_owned()),
        Some(port) => port,
        None => return Err("it names no port; write grpc://host:port".to_owned()),
    };
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let tls = matches!(url.scheme(), "https" | "grpcs");
    Ok(Endpoint { host, port, path, tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_selects_the_kind_of_target() {
        for (text, shown) in [
            ("http://localhost:8200/hellogrpc", "http://localhost:8200/hellogrpc"),
            ("HTTP://gw?name=Ann Lee", "http://gw:80/?name=Ann%20Lee"),
            ("http://[::1]:8200/a#b", "http://[::1]:8200/a"),
            ("https://gw/a", "https://gw:443/a"),
            ("grpc://localhost:8000", "grpc://localhost:8000"),
            ("grpcs://localhost:8000", "grpcs://localhost:8000"),
            ("grpc://[fd00::1]:8000/", "grpc://[fd00::1]:8000"),
            ("tonic:10.0.0.1:80,[::1]:80", "tonic:10.0.0.1:80,[::1]:80"),
        ] {
            let target: Target = text.parse().unwrap();
            assert!(!matches!(target, Target::Balanced(_)), "{text}");
            assert_eq!(target.to_string(), shown);
        }
        for text in [
            "dns:///grpc-svc:8000",
            "dns://127.0.0.1:53/a:1",
            "ipv4:10.0.0.1:80,10.0.0.2:80",
            "localhost:8000",
        ] {
            assert_eq!(text.parse::<Target>().unwrap(), Target::Balanced(text.to_owned()));
        }
    }

    #[test]
    fn target_without_a_scheme_is_grpc_with_a_hint() {
        for text in ["127.0.0.1:8200", "localhost:9100", "[::1]:80"] {
            let target: Target = text.parse().unwrap();
            let hint = target.hint().unwrap();
            assert!(hint.ends_with(&format!("for HTTP write http://{text}/")), "{hint}");
        }
        for text in ["dns:///a:1", "dns:a:1", "ipv4:10.0.0.1:80", "grpc://a:1", "http://a/"] {
            assert_eq!(text.parse::<Target>().unwrap().hint(), None, "{text}");
        }
    }

    #[test]
    fn invalid_target_is_an_error_with_a_hint() {
        for (text, word) in [
            ("", "write http://"),
            ("http://", "host"),
            ("http://:80", "host"),
            ("http://host:0/", "1 to 65535"),
            ("http://host:99999/", "port"),
            ("http://ann:secret@host/", "--header"),
            ("grpc://host", "no port"),
            ("grpc://host:8000/hello.Hello", "no path"),
            ("grpc://:8000", "host"),
            ("grpcs://host", "no port"),
            ("tonic:host:80", "10.0.0.1:80"),
            ("127.0.0.1:9100/api", "for HTTP write http://127.0.0.1:9100/api, for gRPC 127.0.0.1:9100"),
        ] {
            let sentence = text.parse::<Target>().unwrap_err().to_string();
            assert!(sentence.contains(word), "{text}: {sentence}");
        }
    }
}
