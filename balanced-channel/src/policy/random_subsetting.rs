//! `random_subsetting`: a stable subset of the endpoints, different for each client (gRFC A68).

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
    sync::Arc,
};

use tokio::time::Instant;

use super::{Candidates, LbPolicy, Picker, Policy};
use crate::{metrics::WeightMetrics, resolver::Endpoint, subchannel::ReadySubchannel};

/// `random_subsetting` ([gRFC A68]): connects to a subset of the endpoints, over which another
/// policy balances.
///
/// Each channel selects its subset by rendezvous hashing with a random seed. Many clients together load the endpoints
/// evenly, and an added or removed endpoint replaces at most one endpoint of a subset.
///
/// [gRFC A68]: https://github.com/grpc/proposal/blob/master/A68-random-subsetting.md
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RandomSubsetting {
    /// The number of endpoints to connect to, at least 1.
    pub subset_size: usize,
    /// The policy over the subset. Default: `round_robin`.
    pub child_policy: Policy,
}

#[derive(Debug)]
pub(super) struct RandomSubsettingPolicy {
    size: usize,
    seed: u64,
    child: Box<dyn LbPolicy>,
}

// === impl RandomSubsetting ===

impl RandomSubsetting {
    /// Creates a `round_robin` policy over `subset_size` endpoints.
    pub fn new(subset_size: usize) -> Self {
        Self { subset_size, child_policy: Policy::default() }
    }

    /// Sets [`child_policy`](Self::child_policy).
    pub fn child_policy(mut self, policy: impl Into<Policy>) -> Self {
        self.child_policy = policy.into();
        self
    }
}

// === impl RandomSubsettingPolicy ===

impl RandomSubsettingPolicy {
    pub(super) fn new(config: RandomSubsetting, weights: &Arc<WeightMetrics>) -> Self {
        Self::seeded(config, fastrand::u64(..), weights)
    }

    fn seeded(config: RandomSubsetting, seed: u64, weights: &Arc<WeightMetrics>) -> Self {
        Self { size: config.subset_size.max(1), seed, child: config.child_policy.build(weights) }
    }

    /// Returns the endpoints with the smallest hashes, in the order of the hashes.
    fn subset(&self, listed: &[Endpoint]) -> Vec<Endpoint> {
        let rank = |endpoint: &Endpoint| {
            let mut hasher = DefaultHasher::new();
            (self.seed, endpoint.address).hash(&mut hasher);
            (hasher.finish(), endpoint.address)
        };
        let mut ranked: Vec<_> = listed.iter().map(|endpoint| (rank(endpoint), endpoint)).collect();
        if self.size < ranked.len() {
            ranked.select_nth_unstable_by_key(self.size, |(rank, _)| *rank);
            ranked.truncate(self.size);
        }
        ranked.sort_unstable_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, endpoint)| endpoint.clone()).collect()
    }
}

impl LbPolicy for RandomSubsettingPolicy {
    fn endpoints(&mut self, listed: Arc<[Endpoint]>) -> Arc<[Endpoint]> {
        let subset = self.subset(&listed);
        self.child.endpoints(subset.into())
    }

    fn connects(&mut self, candidates: &Candidates<'_>) -> Range<usize> {
        self.child.connects(candidates)
    }

    fn wake(&self) -> Option<Instant> {
        self.child.wake()
    }

    fn picker(&mut self, ready: Vec<Arc<ReadySubchannel>>) -> Box<dyn Picker> {
        self.child.picker(ready)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, net::SocketAddr};

    use super::*;

    fn endpoints(count: u32) -> Vec<Endpoint> {
        (0..count).map(|host| SocketAddr::from(((0x0a00_0000 + host).to_be_bytes(), 80)).into()).collect()
    }

    fn client(size: usize, seed: u64) -> RandomSubsettingPolicy {
        RandomSubsettingPolicy::seeded(RandomSubsetting::new(size), seed, &Arc::default())
    }

    #[test]
    fn thousand_clients_load_ten_thousand_endpoints_evenly() {
        let endpoints = endpoints(10_000);
        let mut connections = HashMap::new();
        for seed in 0..1000 {
            let subset = client(20, seed).subset(&endpoints);
            assert_eq!(subset.len(), 20, "connections of a client");
            for endpoint in subset {
                *connections.entry(endpoint).or_insert(0_usize) += 1;
            }
        }
        let mut endpoints_with = [0_usize; 11];
        for endpoint in &endpoints {
            endpoints_with[connections.get(endpoint).copied().unwrap_or(0).min(10)] += 1;
        }
        println!("endpoints with 0, 1, 2, ... connections: {endpoints_with:?}");
        // 20 000 connections thrown at random: Poisson with a mean of 2, whose variance is 2.
        let mean = 2.0;
        let variance = endpoints
            .iter()
            .map(|endpoint| (connections.get(endpoint).copied().unwrap_or(0) as f64 - mean).powi(2))
            .sum::<f64>()
            / endpoints.len() as f64;
        assert!((1.9..2.1).contains(&variance), "{variance}");
        assert!((1250..1460).contains(&endpoints_with[0]), "e^-2 of them have none: {endpoints_with:?}");
        assert!(connections.values().max() <= Some(&11));
    }

    #[test]
    fn many_clients_load_few_endpoints_evenly() {
        let endpoints = endpoints(100);
        let mut connections = vec![0_usize; 100];
        for seed in 0..1000 {
            for endpoint in client(20, seed).subset(&endpoints) {
                connections[endpoints.iter().position(|other| *other == endpoint).unwrap()] += 1;
            }
        }
        assert!(connections.iter().all(|count| (150..=250).contains(count)), "200 each: {connections:?}");
    }

    #[test]
    fn changed_endpoint_changes_at_most_one_of_a_subset() {
        let all = endpoints(1000);
        for seed in 0..100 {
            let policy = client(20, seed);
            let before = policy.subset(&all);
            for gone in [0, 500, 999] {
                let mut fewer = all.clone();
                fewer.remove(gone);
                let after = policy.subset(&fewer);
                let kept = after.iter().filter(|endpoint| before.contains(endpoint)).count();
                assert_eq!(kept, if before.contains(&all[gone]) { 19 } else { 20 });
            }
            let mut turned = all.clone();
            turned.rotate_left(77);
            assert_eq!(policy.subset(&turned), before, "the order of an answer has no effect");
        }
    }

    #[test]
    fn fewer_endpoints_than_the_subset_size_are_all_used() {
        for count in [0, 1, 19, 20] {
            assert_eq!(client(20, 7).subset(&endpoints(count)).len(), count as usize);
        }
        assert_eq!(client(0, 7).subset(&endpoints(3)).len(), 1);
    }
}
