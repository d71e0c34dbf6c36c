//! The conditions of a load: the target and how it was called. They determine which causes a verdict considers.

use crate::target::Target;

/// The target of a load, and how it was called.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// The target.
    pub target: Target,
    /// The number of concurrent callers.
    pub callers: usize,
    /// The number of connections that the callers of a `grpc://` target share.
    pub connections: usize,
    /// True if the peer address of the connection counts as the name of the pod.
    pub pod_is_peer: bool,
    /// The endpoints of a balanced target at the end of the load; empty for other targets.
    pub endpoints: Vec<EndpointState>,
    /// The header that is to name the pod, and those of an answer without it.
    pub absent_header: Option<(String, Vec<String>)>,
}

/// An endpoint of a balanced target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointState {
    /// The address of the endpoint.
    pub address: String,
    /// True if the endpoint is connected.
    pub ready: bool,
    /// The error of the last connection attempt, if the endpoint is not connected and the cause is known.
    pub last_error: Option<String>,
}

// === impl Conditions ===

impl Conditions {
    /// Creates the conditions of `callers` calling `target`, with defaults for everything else.
    pub fn new(target: Target, callers: usize) -> Self {
        Self {
            target,
            callers,
            connections: 1,
            pod_is_peer: false,
            endpoints: Vec::new(),
            absent_header: None,
        }
    }

    /// Returns the endpoints that are not connected, each with the cause.
    pub fn unreachable(&self) -> impl Iterator<Item = (&str, &str)> {
        let unready = self.endpoints.iter().filter(|endpoint| !endpoint.ready);
        unready.filter_map(|endpoint| Some((endpoint.address.as_str(), endpoint.last_error.as_deref()?)))
    }
}
