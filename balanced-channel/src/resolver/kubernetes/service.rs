//! Parses `kubernetes:///` targets: the name, namespace and port of a service.

use std::fmt;

/// The longest name of a service or a namespace (RFC 1123, which Kubernetes follows).
const MAX_LABEL: usize = 63;
/// The longest name of a port (RFC 6335).
const MAX_PORT_NAME: usize = 15;
/// The syntax of a target.
const SHAPE: &str = "write kubernetes:///service.namespace:port";

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) name: String,
    /// The namespace; `None` for that of the client's own account.
    pub(crate) namespace: Option<String>,
    pub(crate) port: Port,
}

/// A port as a target names it. It is the port of the pods, not that of the ClusterIP, which EndpointSlices do not
/// contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    Number(u16),
    Name(String),
}

// === impl Service ===

impl Service {
    /// Parses the part of the target after `kubernetes:`.
    pub(crate) fn parse(rest: &str) -> Result<Self, String> {
        let rest = rest.strip_prefix("///").ok_or_else(|| format!("names no service: {SHAPE}"))?;
        let (host, port) = rest.split_once(':').ok_or_else(|| format!("names no port: {SHAPE}"))?;
        let (name, namespace) = match host.split_once('.') {
            Some((name, namespace)) => (name, Some(namespace)),
            None => (host, None),
        };
        if name.is_empty() {
            return Err(format!("names no service: {SHAPE}"));
        }
        if namespace.is_some_and(|namespace| namespace.contains('.')) {
            return Err(format!(
                "has the host \"{host}\", which is more than a service and a namespace: {SHAPE}"
            ));
        }
        for label in [Some(name), namespace].into_iter().flatten() {
            if !is_label(label) {
                return Err(format!("has \"{label}\", which is not the name of a service or a namespace"));
            }
        }
        Ok(Self { name: name.to_owned(), namespace: namespace.map(str::to_owned), port: Port::parse(port)? })
    }

    /// Returns the `:authority` of calls, without a named port, because HTTP allows only numbers.
    pub(crate) fn authority(&self) -> String {
        let host = match &self.namespace {
            Some(namespace) => format!("{}.{namespace}", self.name),
            None => self.name.clone(),
        };
        match &self.port {
            Port::Number(number) => format!("{host}:{number}"),
            Port::Name(_) => host,
        }
    }
}

// === impl Port ===

impl Port {
    fn parse(text: &str) -> Result<Self, String> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return match text.parse() {
                Ok(number) if number > 0 => Ok(Self::Number(number)),
                _ => Err(format!("has the port \"{text}\", which is not a number from 1 to 65535")),
            };
        }
        let letters = text.bytes().any(|byte| byte.is_ascii_lowercase());
        if letters && is_label(text) && text.len() <= MAX_PORT_NAME && !text.contains("--") {
            Ok(Self::Name(text.to_owned()))
        } else {
            Err(format!("has the port \"{text}\", which is neither a number nor the name of a port"))
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// Returns whether the text is lower-case letters, digits and hyphens, without a hyphen at either end.
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty()
        && text.len() <= MAX_LABEL
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use crate::Target;

    #[test]
    fn invalid_target_has_an_error_that_states_the_problem() {
        for (text, reason) in [
            ("kubernetes:svc:80", "names no service"),
            ("kubernetes://svc:80", "names no service"),
            ("kubernetes:///", "names no port"),
            ("kubernetes:///:80", "names no service"),
            ("kubernetes:///svc", "names no port"),
            ("kubernetes:///svc.ns", "names no port: write kubernetes:///service.namespace:port"),
            ("kubernetes:///svc.ns.svc.cluster.local:80", "more than a service and a namespace"),
            ("kubernetes:///svc.:80", "\"\", which is not the name"),
            ("kubernetes:///Svc:80", "\"Svc\", which is not the name"),
            ("kubernetes:///svc/x:80", "\"svc/x\", which is not the name"),
            ("kubernetes:///svc,ns:80", "\"svc,ns\", which is not the name"),
            ("kubernetes:///-svc:80", "\"-svc\", which is not the name"),
            ("kubernetes:///svc:", "the port \"\""),
            ("kubernetes:///svc:0", "the port \"0\""),
            ("kubernetes:///svc:65536", "the port \"65536\""),
            ("kubernetes:///svc:+80", "the port \"+80\""),
            ("kubernetes:///svc:GRPC", "neither a number nor the name of a port"),
            ("kubernetes:///svc:a--b", "neither a number nor the name of a port"),
            ("kubernetes:///svc:grpc:80", "neither a number nor the name of a port"),
            ("kubernetes:///svc:sixteen-letters-", "neither a number nor the name of a port"),
        ] {
            let error = text.parse::<Target>().expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(error.starts_with(&format!("target \"{text}\" ")), "{error}");
        }
    }

    #[test]
    fn authority_is_the_service_and_a_numeric_port() {
        for (text, authority) in [
            ("kubernetes:///grpc-svc.prod:8000", "grpc-svc.prod:8000"),
            ("kubernetes:///grpc-svc:8000", "grpc-svc:8000"),
            ("kubernetes:///grpc-svc.prod:grpc", "grpc-svc.prod"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().authority(), authority);
        }
    }
}
