//! Policies: which endpoints are connected, and which READY subchannel takes a call. One file each.
//!
//! The balancer holds the pool. It asks its policy which of the listed endpoints to connect, and
//! hands it the READY subchannels at each change as a whole list; the policy answers with a picker,
//! an immutable snapshot that calls share without a lock.

mod least_request;
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
pub use pick_first::PickFirst;
pub use random_subsetting::RandomSubsetting;
pub use ring_hash::RingHash;
pub use slow_start::SlowStart;
use tokio::time::Instant;
pub use weighted_round_robin::WeightedRoundRobin;

use crate::{metrics::WeightMetrics, resolver::Endpoint, subchannel::ReadySubchannel};

/// How a channel spreads its calls: a [load balancing policy] of gRPC.
///
/// [load balancing policy]: https://github.com/grpc/grpc/blob/master/doc/load-balancing.md
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Policy {
    /// `round_robin`: every READY endpoint in strict turn.
    #[default]
    RoundRobin,
    /// `pick_first`: one endpoint, until its connection is lost.
    PickFirst(PickFirst),
    /// `least_request`: the endpoint with the fewest calls in flight of a few.
    LeastRequest(LeastRequest),
    /// `weighted_round_robin`: turns in proportion to the load that backends report.
    WeightedRoundRobin(WeightedRoundRobin),
    /// `ring_hash`: always the same endpoint for the same value of a header.
    RingHash(RingHash),
    /// `random_subsetting`: another policy over a stable part of the endpoints.
    RandomSubsetting(Box<RandomSubsetting>),
}

/// Makes pickers. Lives with the balancer, so it may keep state from one picker to the next.
pub(crate) trait LbPolicy: Debug + Send {
    /// Which endpoints of a new set this policy has to do with, in the order it wants them.
    fn endpoints(&mut self, listed: Arc<[Endpoint]>) -> Arc<[Endpoint]> {
        listed
    }

    /// Which of [`endpoints`](Self::endpoints)' are to be connected now. ReceivedRequest again after each
    /// change of a subchannel; one that was wanted and no longer is gets drained.
    fn connects(&mut self, candidates: &Candidates<'_>) -> Range<usize> {
        0..candidates.endpoints.len()
    }

    /// When to be asked again although nothing has changed.
    fn wake(&self) -> Option<Instant> {
        None
    }

    /// Returns the utilization that failed calls add to the one that backends report (gRFC A58); `None` when
    /// their reports are not to be read at all.
    fn error_penalty(&self) -> Option<f64> {
        None
    }

    /// A picker over `ready`, which is never empty, in the order of the addresses.
    fn picker(&mut self, ready: Vec<Arc<ReadySubchannel>>) -> Box<dyn Picker>;
}

/// Picks for every call, from many threads at once.
pub(crate) trait Picker: Debug + Send + Sync {
    /// The subchannel for this call, or none when every connection has just been lost.
    fn pick(&self, call: &PickArgs<'_>) -> Option<&Arc<ReadySubchannel>>;
}

/// The properties of a call that a picker may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PickArgs<'a> {
    pub(crate) headers: &'a HeaderMap,
}

/// A policy's endpoints, and how each of them stands.
pub(crate) struct Candidates<'a> {
    pub(crate) endpoints: &'a [Endpoint],
    pub(crate) state: &'a dyn Fn(&Endpoint) -> CandidateState,
}

/// How the subchannel of an endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CandidateState {
    /// Not connected: the policy did not want it.
    Idle,
    /// Connecting since then.
    Connecting(Instant),
    Ready,
    /// An attempt has failed since it was last READY; it goes on trying with backoff.
    TransientFailure,
}

// === impl Policy ===

impl Policy {
    /// Its name in a service config, without the ending `_experimental` that some of them have there.
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

    /// The policy that picks: of one that only chooses among the endpoints, its child.
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

/// Lets [`Builder::policy`](crate::Builder::policy) take a policy's own configuration.
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
