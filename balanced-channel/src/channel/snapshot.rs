//! The state of a channel at one moment, for diagnosis and for `/debug/channels`.

use std::{net::SocketAddr, sync::atomic::Ordering};

use serde::Serialize;
use tokio::{sync::watch, time::Instant};

use crate::{
    call::CallExecutor,
    resolver::Resolution,
    subchannel::{Connectivity, Subchannel},
    transport::Http2Config,
};

/// A channel at one moment. Times are ages in seconds.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ChannelSnapshot {
    /// The target as written.
    pub target: String,
    /// The state of the resolver.
    pub resolver: ResolverSnapshot,
    /// The silence after which a new connection sends a PING, in seconds; absent if keepalive is off.
    pub keepalive_time: Option<f64>,
    /// The number of GOAWAY frames with `too_many_pings` from servers.
    pub too_many_pings: u32,
    /// The number of attempts after the first, by reason.
    pub retries: RetrySnapshot,
    /// Every subchannel, in the order of their addresses.
    pub subchannels: Vec<SubchannelSnapshot>,
}

/// The last result of a channel's resolver.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ResolverSnapshot {
    /// The number of endpoints in the last successful resolution, without the second address family of a name;
    /// absent before the first one.
    pub endpoints: Option<usize>,
    /// The age of that resolution, in seconds.
    pub age: Option<f64>,
    /// The error of the latest lookup, if it failed.
    pub error: Option<String>,
}

/// The number of attempts after the first of each call (gRFC A6), by reason.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RetrySnapshot {
    /// Transparent retries: no server had processed the call.
    pub transparent: u64,
    /// Retries under a retry policy.
    pub by_policy: u64,
    /// Hedges under a hedging policy: the attempt before was slow, unresponsive or failed.
    pub hedges: u64,
    /// The tokens left for retry throttling; absent without it. At half of the maximum or less, there are no retries.
    pub tokens: Option<f64>,
}

/// One subchannel at one moment.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SubchannelSnapshot {
    /// The address of the endpoint.
    pub address: SocketAddr,
    /// The resolver's name for the endpoint, such as the name of a pod, if it has one.
    pub name: Option<String>,
    /// The failure zone, if the resolver knows it.
    pub zone: Option<String>,
    /// Its connectivity state.
    pub state: Connectivity,
    /// The time in this state, in seconds.
    pub since: f64,
    /// The number of calls that were sent and whose response has not ended.
    pub in_flight: u64,
    /// The number of attempts sent so far.
    pub started: u64,
    /// The number of attempts that ended with status OK.
    pub succeeded: u64,
    /// The number of attempts that ended in any other way.
    pub failed: u64,
    /// The remaining time of the ejection, in seconds; absent if the endpoint is not ejected.
    pub ejected_for: Option<f64>,
    /// True if the peer leaves keepalive PINGs unanswered: calls avoid the endpoint although it is READY.
    pub silent: bool,
    /// The server's last health status, if that is watched: a `ServingStatus` of
    /// grpc.health.v1, or UNIMPLEMENTED.
    pub health: Option<&'static str>,
    /// The reason why the last connection was lost or could not be established.
    pub last_error: Option<String>,
}

// === impl ChannelSnapshot ===

impl ChannelSnapshot {
    pub(crate) fn take(
        executor: &CallExecutor,
        resolution: &watch::Receiver<Resolution>,
        http2: &Http2Config,
    ) -> Self {
        let now = Instant::now();
        let Resolution { endpoints, error } = resolution.borrow().clone();
        Self {
            target: executor.target.clone(),
            resolver: ResolverSnapshot {
                endpoints: endpoints
                    .as_ref()
                    .map(|(endpoints, _)| endpoints.iter().filter(|endpoint| !endpoint.fallback).count()),
                age: endpoints.map(|(_, at)| (now - at).as_secs_f64()),
                error: error.map(|error| error.to_string()),
            },
            keepalive_time: http2.keepalive().map(|keepalive| keepalive.time.as_secs_f64()),
            too_many_pings: http2.too_many_pings.load(Ordering::Relaxed),
            retries: RetrySnapshot {
                transparent: executor.retries.transparent.load(Ordering::Relaxed),
                by_policy: executor.retries.by_policy.load(Ordering::Relaxed),
                hedges: executor.retries.hedges.load(Ordering::Relaxed),
                tokens: executor.throttle.as_ref().map(|throttle| throttle.tokens()),
            },
            subchannels: executor
                .published
                .subchannels()
                .iter()
                .map(|subchannel| subchannel.snapshot(now))
                .collect(),
        }
    }

    /// Returns the number of subchannels that are READY.
    pub fn ready(&self) -> usize {
        self.subchannels.iter().filter(|subchannel| subchannel.state == Connectivity::Ready).count()
    }
}

impl Subchannel {
    fn snapshot(&self, now: Instant) -> SubchannelSnapshot {
        let status = self.status();
        SubchannelSnapshot {
            address: self.endpoint.address,
            name: status.name.as_deref().map(str::to_owned),
            zone: status.zone.as_deref().map(str::to_owned),
            state: status.state,
            since: now.saturating_duration_since(status.since).as_secs_f64(),
            in_flight: self.calls.in_flight(),
            started: self.calls.started.load(Ordering::Acquire),
            succeeded: self.calls.succeeded.load(Ordering::Acquire),
            failed: self.calls.failed.load(Ordering::Acquire),
            ejected_for: status.ejected_until.map(|until| until.saturating_duration_since(now).as_secs_f64()),
            silent: status.silent,
            health: status.health,
            last_error: status.last_error,
        }
    }
}
