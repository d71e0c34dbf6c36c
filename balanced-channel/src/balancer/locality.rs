//! Preference for the client's own zone: which part of a set of endpoints calls go to. No policy knows of
//! it, and any resolver that names zones has it. [`Builder::zone`](crate::Builder::zone) states the rule.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use crate::resolver::Endpoint;

/// With fewer endpoints in a zone, one that restarts would move all calls to other zones and back.
const MIN_ENDPOINTS_PER_ZONE: usize = 2;

/// The latest set of endpoints, and the part of it that is preferred.
pub(crate) struct Locality {
    /// The client's own zone, if it knows.
    zone: Option<Arc<str>>,
    all: Arc<[Endpoint]>,
    /// The preferred endpoints; `None` without a reason to prefer any.
    preferred: Option<Arc<[Endpoint]>>,
    /// True if all are used although some are preferred, because none of those took calls.
    widened: bool,
}

// === impl Locality ===

impl Locality {
    pub(crate) fn new(zone: Option<Arc<str>>) -> Self {
        Self { zone, all: Arc::default(), preferred: None, widened: false }
    }

    /// Takes a new set.
    pub(crate) fn update(&mut self, endpoints: Arc<[Endpoint]>) {
        self.preferred = self.zone.as_deref().and_then(|zone| preferred(zone, &endpoints)).map(Arc::from);
        self.all = endpoints;
        self.widened &= self.preferred.is_some();
    }

    /// Returns the endpoints that calls should go to.
    pub(crate) fn endpoints(&self) -> Arc<[Endpoint]> {
        self.preferred.as_ref().filter(|_| !self.widened).unwrap_or(&self.all).clone()
    }

    /// Uses all endpoints, since no preferred one takes calls. Returns whether that is a change.
    pub(crate) fn widen(&mut self) -> bool {
        let widens = self.preferred.is_some() && !self.widened;
        self.widened |= widens;
        widens
    }

    /// Goes back to the preferred ones when half of them take calls. Says whether it did.
    pub(crate) fn narrow(&mut self, takes_calls: impl Fn(&SocketAddr) -> bool) -> bool {
        let Some(preferred) = self.preferred.as_ref().filter(|_| self.widened) else { return false };
        let available = preferred.iter().filter(|endpoint| takes_calls(&endpoint.address)).count();
        self.widened = available * 2 < preferred.len();
        !self.widened
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
