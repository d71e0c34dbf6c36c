//! A subchannel: one endpoint, at most one connection that takes calls, and its connectivity state.
//!
//! Each subchannel has a task that connects, watches the connection, and reconnects with backoff. The task reports
//! every change of state to the balancer, and does not depend on other subchannels.

mod call_counters;
mod health_check;
mod task;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

pub(crate) use call_counters::CallCounters;
pub(crate) use health_check::{HealthCheck, HealthStatus};
use serde::Serialize;
pub(crate) use task::{SubchannelEvent, SubchannelHandle, SubchannelTask, SubchannelUpdate};
use tokio::time::Instant;

use crate::{outlier::ConsecutiveFailures, resolver::Endpoint, transport::Http2Client};

/// The states of the [gRPC connectivity document].
///
/// [gRPC connectivity document]: https://github.com/grpc/grpc/blob/master/doc/connectivity-semantics-and-api.md
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Connectivity {
    /// Not connected, and not trying to connect.
    Idle,
    /// Trying to connect.
    Connecting,
    /// Connected; calls may be sent.
    Ready,
    /// Failed to connect; tries again after a backoff.
    TransientFailure,
    /// Never to be used again; calls in flight may be finishing.
    Shutdown,
}

/// The state of a subchannel that calls, pickers, the balancer and snapshots share.
#[derive(Debug)]
pub(crate) struct Subchannel {
    pub(crate) endpoint: Endpoint,
    pub(crate) calls: CallCounters,
    pub(crate) consecutive_failures: ConsecutiveFailures,
    /// The status, which the balancer writes and snapshots read. Calls do not use it.
    status: Mutex<SubchannelStatus>,
}

/// The state of a subchannel in a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct SubchannelStatus {
    pub(crate) state: Connectivity,
    pub(crate) since: Instant,
    pub(crate) last_error: Option<String>,
    pub(crate) ejected_until: Option<Instant>,
    pub(crate) silent: bool,
    pub(crate) health: Option<&'static str>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) zone: Option<Arc<str>>,
}

/// A subchannel that is READY, with the connection that its calls go to.
#[derive(Debug)]
pub(crate) struct ReadySubchannel {
    pub(crate) subchannel: Arc<Subchannel>,
    pub(crate) client: Http2Client,
    pub(crate) since: Instant,
}

// === impl Connectivity ===

impl Connectivity {
    /// The name in the gRPC document, such as `TRANSIENT_FAILURE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "IDLE",
            Self::Connecting => "CONNECTING",
            Self::Ready => "READY",
            Self::TransientFailure => "TRANSIENT_FAILURE",
            Self::Shutdown => "SHUTDOWN",
        }
    }
}

// === impl Subchannel ===

impl Subchannel {
    pub(crate) fn new(endpoint: Endpoint, consecutive_failures: ConsecutiveFailures) -> Self {
        let status = SubchannelStatus {
            state: Connectivity::Idle,
            since: Instant::now(),
            last_error: None,
            ejected_until: None,
            silent: false,
            health: None,
            name: endpoint.name.clone(),
            zone: endpoint.zone.clone(),
        };
        Self { endpoint, calls: CallCounters::default(), consecutive_failures, status: Mutex::new(status) }
    }

    pub(crate) fn status(&self) -> SubchannelStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the state. `error` is the reason for TRANSIENT_FAILURE.
    pub(crate) fn enter(&self, state: Connectivity, error: Option<String>) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if status.state != state {
            status.state = state;
            status.since = Instant::now();
        }
        if error.is_some() {
            status.last_error = error;
        }
    }

    /// Sets the health that the server reports.
    pub(crate) fn set_health(&self, health: Option<&'static str>) {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).health = health;
    }

    /// Updates the name and zone, because a different pod may have taken over the address.
    pub(crate) fn update_endpoint(&self, endpoint: &Endpoint) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if status.name != endpoint.name || status.zone != endpoint.zone {
            (status.name, status.zone) = (endpoint.name.clone(), endpoint.zone.clone());
        }
    }

    /// Sets the reasons why calls avoid the endpoint.
    pub(crate) fn set_exclusion(&self, ejected_until: Option<Instant>, silent: bool) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        (status.ejected_until, status.silent) = (ejected_until, silent);
    }
}

// === impl ReadySubchannel ===

impl ReadySubchannel {
    /// Creates a subchannel that is READY from now on.
    pub(crate) fn new(subchannel: Arc<Subchannel>, client: Http2Client) -> Self {
        Self { subchannel, client, since: Instant::now() }
    }

    /// Returns the address of the endpoint.
    pub(crate) fn address(&self) -> SocketAddr {
        self.subchannel.endpoint.address
    }

    /// Returns whether the connection takes calls, as far as the client knows.
    pub(crate) fn is_open(&self) -> bool {
        !self.client.is_closed()
    }
}
