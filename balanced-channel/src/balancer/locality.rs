//! Selects the preferred endpoints of a set: those in the client's zone and of one address family. Works with every
//! policy and with every resolver that knows zones. [`Builder::zone`](crate::Builder::zone) has the rule.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use crate::resolver::Endpoint;

/// The minimum number of endpoints in a preferred zone. With a single one, its restart would move all calls to other
/// zones and back.
const MIN_ENDPOINTS_PER_ZONE: usize = 2;

/// The latest set of endpoints, and the parts of it that are preferred.
pub(crate) struct Locality {
    /// The client's own zone, if it is known.
    zone: Option<Arc<str>>,
    /// Sets of endpoints, each larger than the previous one: those of the zone, those of the preferred address family,
    /// and all. A set that would contain all endpoints is omitted.
    tiers: Vec<Arc<[Endpoint]>>,
    /// The tier in use. It is a later one while no endpoint of the previous tiers takes calls.
    tier: usize,
}

// === impl Locality ===

impl Locality {
    pub(crate) fn new(zone: Option<Arc<str>>) -> Self {
        Self { zone, tiers: vec![Arc::default()], tier: 0 }
    }

    /// Replaces the set of endpoints.
    pub(crate) fn update(&mut self, endpoints: Arc<[Endpoint]>) {
        let last = self.tiers.len() - 1;
        let (widened_from_last, widened) = (self.tier == last, self.tier > 0);
        let family: Arc<[Endpoint]> = match endpoints.iter().any(|endpoint| endpoint.fallback) {
            true => endpoints.iter().filter(|endpoint| !endpoint.fallback).cloned().collect(),
            false => endpoints.clone(),
        };
        let local = self.zone.as_deref().and_then(|zone| preferred(zone, &family)).map(Arc::from);
        let dual_stack = family.len() < endpoints.len();
        let all = dual_stack.then_some(endpoints);
        self.tiers = local.into_iter().chain([family]).chain(all).collect();
        // Stays as wide as before.
        self.tier = match (widened, widened_from_last) {
            (false, _) => 0,
            (true, true) => self.tiers.len() - 1,
            (true, false) => self.tier.min(self.tiers.len() - 1),
        };
    }

    /// Returns the endpoints that calls should go to.
    pub(crate) fn endpoints(&self) -> Arc<[Endpoint]> {
        self.tiers[self.tier].clone()
    }

    /// Uses more endpoints, because no preferred one takes calls. Returns whether the endpoints have changed.
    pub(crate) fn widen(&mut self) -> bool {
        let widens = self.tier + 1 < self.tiers.len();
        self.tier += usize::from(widens);
        widens
    }

    /// Returns to preferred endpoints when half of them take calls. Returns whether the endpoints have changed.
    pub(crate) fn narrow(&mut self, takes_calls: impl Fn(&SocketAddr) -> bool) -> bool {
        let enough = |tier: &Arc<[Endpoint]>| {
            let available = tier.iter().filter(|endpoint| takes_calls(&endpoint.address)).count();
            available > 0 && available * 2 >= tier.len()
        };
        match self.tiers[..self.tier].iter().position(enough) {
            Some(tier) => {
                self.tier = tier;
                true
            }
            None => false,
        }
    }
}

/// Returns the endpoints that a client in `zone` should prefer; `None` if it should use all.
fn preferred(zone: &str, endpoints: &[Endpoint]) -> Option<Vec<Endpoint>> {
    let hinted = |endpoint: &&Endpoint| endpoint.for_zones.iter().any(|name| **name == *zone);
    let local = |endpoint: &&Endpoint| endpoint.zone.as_deref() == Some(zone);
    let planned = endpoints.iter().all(|endpoint| !endpoint.for_zones.is_empty());
    let preferred: Vec<_> = if planned && endpoints.iter().any(|endpoint| hinted(&endpoint)) {
        endpoints.iter().filter(hinted).cloned().collect()
    } else if zone_can_be_exclusive(zone, endpoints) {
        endpoints.iter().filter(local).cloned().collect()
    } else {
        return None;
    };
    (preferred.len() < endpoints.len()).then_some(preferred)
}

/// Returns whether the clients in `zone` may call only the endpoints in their zone.
///
/// Assume `n` endpoints in `k` zones, the same number of clients in each zone, and `m` zones whose clients call all
/// endpoints. In a zone with `s` endpoints whose clients call only these, an endpoint then gets `n / (k s) + m / k`
/// times the calls that it would get if all clients called all endpoints. A zone is exclusive only if that is at most
/// 1.2. The result depends only on the endpoints, so all clients agree on it.
fn zone_can_be_exclusive(zone: &str, endpoints: &[Endpoint]) -> bool {
    let mut sizes = BTreeMap::<&str, usize>::new();
    for endpoint in endpoints {
        let Some(zone) = &endpoint.zone else { return false };
        *sizes.entry(zone).or_default() += 1;
    }
    let (n, k) = (endpoints.len(), sizes.len());
    let mut kept: BTreeMap<_, _> =
        sizes.into_iter().filter(|(_, size)| *size >= MIN_ENDPOINTS_PER_ZONE).collect();
    loop {
        let (before, m) = (kept.len(), k - kept.len());
        // Removing a zone increases the load of the remaining ones, so the loop only removes zones and ends.
        kept.retain(|_, size| 5 * (n + m * *size) <= 6 * k * *size);
        if kept.len() == before {
            return kept.contains_key(zone);
        }
    }
}

#[cfg(test)]
mod tests;
