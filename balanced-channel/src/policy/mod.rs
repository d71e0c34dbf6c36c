//! Load-balancing policies, one file each: they select the endpoints to connect to, and the subchannel of each call.
//!
//! The balancer asks its policy which endpoints to connect to. After each change, it passes the complete list of READY
//! subchannels to the policy, which returns a picker: an immutable snapshot that calls share without a lock.

mod least_request;
mod orca;
mod pick_first;
mod random_subsetting;
mod ring_hash;
mod round_robin;
mod slow_start;
mod stride;
#[cfg(test)]
pub(crate) mod testing;
mod weighted_round_robin;

use std::{fmt::Debug, ops::Range, sync::Arc};

use http::HeaderMap;
pub use least_request::LeastRequest;
pub(crate) use orca::Weight;
pub use pick_first::PickFirst;
pub use random_subsetting::RandomSubsetting;
pub use ring_hash::RingHash;
pub use slow_start::SlowStart;
use tokio::time::Instant;
use tonic::Code;
pub use weighted_round_robin::WeightedRoundRobin;

use crate::{metrics::WeightMetrics, resolver::Endpoint, subchannel::ReadySubchannel};

/// A [load balancing policy] of gRPC: it selects the endpoint of each call.
///
/// [load balancing policy]: https://github.com/grpc/grpc/blob/master/doc/load-balancing.md
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Policy {
    /// `round_robin`: each READY endpoint in turn.
    #[default]
    RoundRobin,
    /// `pick_first`: one endpoint, until its connection is lost.
    PickFirst(PickFirst),
    /// `least_request`: of a few random endpoints, the one with the fewest calls in flight.
    LeastRequest(LeastRequest),
    /// `weighted_round_robin`: calls in proportion to the load that backends report.
    WeightedRoundRobin(WeightedRoundRobin),
    /// `ring_hash`: always the same endpoint for the same value of a header.
    RingHash(RingHash),
    /// `random_subsetting`: another policy over a stable subset of the endpoints.
    RandomSubsetting(Box<RandomSubsetting>),
}

/// A load-balancing policy at work: which endpoints to connect to, and the picker over those that are READY.
///
/// The balancer's task owns it, so it may keep state from one picker to the next. To write a policy, implement this
/// and [`Picker`] in a file of its own, and add its configuration to [`Policy`].
pub(crate) trait LbPolicy: Debug + Send {
    /// Returns the endpoints of a new set that this policy uses, in the order in which it prefers them.
    fn endpoints(&mut self, listed: Arc<[Endpoint]>) -> Arc<[Endpoint]> {
        listed
    }

    /// Returns the range of [`endpoints`](Self::endpoints) to connect to now. The balancer calls this after each
    /// change of a subchannel, and drains subchannels that are no longer in the range.
    fn connects(&mut self, candidates: &Candidates<'_>) -> Range<usize> {
        0..candidates.endpoints.len()
    }

    /// Returns the time at which the balancer requests a new picker even if nothing has changed.
    fn wake(&self) -> Option<Instant> {
        None
    }

    /// Creates a picker over `ready`, which is never empty, in the order of the addresses.
    fn picker(&mut self, ready: Vec<Arc<ReadySubchannel>>) -> Box<dyn Picker>;
}

/// An immutable snapshot that picks a subchannel for every call, from many threads at once and without a lock.
pub(crate) trait Picker: Debug + Send + Sync {
    /// Picks a subchannel for a call, or `None` when every connection has just been lost.
    fn pick(&self, args: &PickArgs<'_>) -> Option<PickResult>;
}

/// The subchannel that a picker has picked for one attempt of a call.
#[derive(Debug)]
pub(crate) struct PickResult {
    pub(crate) subchannel: Arc<ReadySubchannel>,
    /// The hook for the end of the attempt. Policies that do not use results set `None`, which costs their calls
    /// nothing.
    pub(crate) on_done: Option<Arc<dyn OnDone>>,
}

/// A policy's hook for the end of attempts.
pub(crate) trait OnDone: Debug + Send + Sync {
    /// Handles the end of an attempt. Called once for each attempt, on the task of the caller; must not block.
    fn on_done(&self, info: &DoneInfo<'_>);
}

/// The end of one attempt, as a policy sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DoneInfo<'a> {
    /// The status of the attempt; CANCELLED when the caller dropped it.
    #[cfg_attr(not(test), expect(dead_code, reason = "for policies that learn from failures"))]
    pub(crate) code: Code,
    /// The trailers, if the server has sent them.
    pub(crate) trailers: Option<&'a HeaderMap>,
    /// The start of the attempt.
    #[cfg_attr(not(test), expect(dead_code, reason = "for policies that learn from latencies"))]
    pub(crate) started: Instant,
}

/// The parts of a call that a picker may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PickArgs<'a> {
    pub(crate) headers: &'a HeaderMap,
}

/// The endpoints of a policy, and the state of each.
pub(crate) struct Candidates<'a> {
    pub(crate) endpoints: &'a [Endpoint],
    pub(crate) state: &'a dyn Fn(&Endpoint) -> CandidateState,
}

/// The state of an endpoint's subchannel, for [`LbPolicy::connects`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CandidateState {
    /// Not connected, because the policy has not selected it.
    Idle,
    /// Connecting since this instant.
    Connecting(Instant),
    Ready,
    /// Failed to connect since it was last READY, and retrying with backoff.
    TransientFailure,
}

// === impl PickResult ===

impl From<&Arc<ReadySubchannel>> for PickResult {
    /// Creates a pick without a hook.
    fn from(subchannel: &Arc<ReadySubchannel>) -> Self {
        Self { subchannel: subchannel.clone(), on_done: None }
    }
}

// === impl Policy ===

impl Policy {
    /// Returns the name of the policy in a service config, without the suffix `_experimental`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::PickFirst(_) => "pick_first",
            Self::LeastRequest(_) => "least_request",
            Self::WeightedRoundRobin(_) => "weighted_round_robin",
            Self::RingHash(_) => "ring_hash",
            Self::RandomSubsetting(_) => "random_subsetting",
        }
    }

    /// Returns the policy that picks: the child policy of a policy that only selects endpoints, or else this policy.
    pub(crate) fn picking(&self) -> &Self {
        match self {
            Self::RandomSubsetting(config) => config.child_policy.picking(),
            policy => policy,
        }
    }

    /// Builds the policy, which records its weights in `weights`.
    pub(crate) fn build(self, weights: &Arc<WeightMetrics>) -> Box<dyn LbPolicy> {
        match self {
            Self::RoundRobin => Box::new(round_robin::RoundRobinPolicy::default()),
            Self::PickFirst(config) => Box::new(pick_first::PickFirstPolicy::new(config)),
            Self::LeastRequest(config) => Box::new(least_request::LeastRequestPolicy::new(config)),
            Self::WeightedRoundRobin(config) => {
                Box::new(weighted_round_robin::WeightedRoundRobinPolicy::new(config, weights.clone()))
            }
            Self::RingHash(config) => Box::new(ring_hash::RingHashPolicy::new(config)),
            Self::RandomSubsetting(config) => {
                Box::new(random_subsetting::RandomSubsettingPolicy::new(*config, weights))
            }
        }
    }
}

/// Lets [`Builder::policy`](crate::Builder::policy) accept the configuration type of a policy.
macro_rules! policy_from {
    ($($config:ident),*) => {$(
        impl From<$config> for Policy {
            fn from(config: $config) -> Self {
                Self::$config(config.into())
            }
        }
    )*};
}

policy_from!(PickFirst, LeastRequest, WeightedRoundRobin, RingHash, RandomSubsetting);
