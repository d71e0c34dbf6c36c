//! Preference for the client's own zone and for one address family: which part of a set of endpoints calls go to. No
//! policy knows of it, and any resolver that names zones has it. [`Builder::zone`](crate::Builder::zone) states the rule.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use crate::resolver::Endpoint;

/// With fewer endpoints in a zone, one that restarts would move all calls to other zones and back.
const MIN_ENDPOINTS_PER_ZONE: usize = 2;

/// The latest set of endpoints, and the parts of it that are preferred.
pub(crate) struct Locality {
    /// The client's own zone, if it knows.
    zone: Option<Arc<str>>,
    /// Sets of endpoints, each larger than the one before: those of the zone, those of the preferred address family,
    /// all. The first two are left out where they would be all.
    tiers: Vec<Arc<[Endpoint]>>,
    /// The tier in use. Not the first one if no endpoint of those before takes calls.
    tier: usize,
}

// === impl Locality ===

impl Locality {
    pub(crate) fn new(zone: Option<Arc<str>>) -> Self {
        Self { zone, tiers: vec![Arc::default()], tier: 0 }
    }

    /// Takes a new set.
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
        // Widened before means widened now, as far.
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

    /// Uses more endpoints, since no preferred one takes calls. Returns whether that is a change.
    pub(crate) fn widen(&mut self) -> bool {
        let widens = self.tier + 1 < self.tiers.len();
        self.tier += usize::from(widens);
        widens
    }

    /// Goes back to preferred endpoints when half of them take calls. Returns whether that is a change.
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

/// The endpoints that a client in `zone` should prefer; none if it should use all.
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

/// Returns whether the clients of `zone` may leave out the other zones.
///
/// Let there be `n` endpoints in `k` zones, with as many clients in each zone, and let the clients of `m`
/// zones go everywhere. An endpoint in a zone of `s` endpoints that keeps to itself is then called
/// `n / (k s) + m / k` times as often as if all clients went everywhere. No zone keeps to itself in which
/// that is more than 1.2. Every client comes to the same answer, as it depends on the endpoints alone.
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
        // Each zone that is left out makes the others' load greater, so this comes to an end.
        kept.retain(|_, size| 5 * (n + m * *size) <= 6 * k * *size);
        if kept.len() == before {
            return kept.contains_key(zone);
        }
    }
}

#[cfg(test)]
mod tests;
