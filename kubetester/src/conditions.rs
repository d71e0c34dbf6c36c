//! The conditions of a load: the target and how it was called. Which causes of a figure are possible depends on them.

use crate::target::Target;

/// The target of a load, and how it was called.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// The target.
    pub target: Target,
    /// Callers at work at once.
    pub callers: usize,
    /// Connections that the callers of a `grpc://` target share.
    pub connections: usize,
    /// True if a pod is named by the address at the other end of the connection.
    pub pod_is_peer: bool,
    /// The endpoints of a balanced target at the end of the load; empty for others.
    pub endpoints: Vec<EndpointState>,
}

/// An endpoint of a balanced target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointState {
    /// Its address.
    pub address: String,
    /// True if it is connected.
    pub ready: bool,
    /// Why it is not, if that is known.
    pub last_error: Option<String>,
}

// === impl Conditions ===

impl Conditions {
    /// The conditions of a target that `callers` call, everything else by default.
    pub fn new(target: Target, callers: usize) -> Self {
        Self { target, callers, connections: 1, pod_is_peer: false, endpoints: Vec::new() }
    }

    /// Returns the endpoints that are not connected, each with the cause.
    pub fn unreachable(&self) -> impl Iterator<Item = (&str, &str)> {
        let lost = self.endpoints.iter().filter(|endpoint| !endpoint.ready);
        lost.filter_map(|endpoint| Some((endpoint.address.as_str(), endpoint.last_error.as_deref()?)))
    }
}
