//! Reconciles the balancer's subchannels with the endpoints that its policy selects, and publishes the result.

use std::{collections::BTreeMap, net::SocketAddr, ops::Range, sync::Arc};

use tokio::sync::{Notify, mpsc};

use super::{BalancerConfig, ChannelPicker, SubchannelEntry, Unavailable};
use crate::{
    outlier::{ConsecutiveFailures, Detector, EjectionState},
    policy::{CandidateState, Candidates},
    resolver::{Endpoint, Resolution},
    subchannel::{Subchannel, SubchannelEvent, SubchannelTask, SubchannelUpdate},
    transport::Connector,
};

/// The state of the balancer's task.
pub(super) struct Balancer<C> {
    pub(super) config: BalancerConfig<C>,
    pub(super) entries: BTreeMap<SocketAddr, SubchannelEntry>,
    pub(super) detector: Detector,
    /// Notified by a call when an endpoint has failed too many calls in a row.
    pub(super) failures: Arc<Notify>,
    /// The latest set of endpoints from the resolver.
    pub(super) resolved_endpoints: Option<Arc<[Endpoint]>>,
    /// The policy's selection of the preferred endpoints, in its order.
    pub(super) endpoints: Arc<[Endpoint]>,
    /// The range of `endpoints` to connect to; `None` after a new set.
    pub(super) wanted: Option<Range<usize>>,
    pub(super) events: mpsc::UnboundedSender<SubchannelEvent>,
    /// The number of subchannels started so far.
    pub(super) started: u64,
    /// The error of the latest attempt to connect.
    pub(super) last_failure: String,
    /// True if the published picker is outdated.
    pub(super) picker_outdated: bool,
}

// === impl Balancer ===

impl<C: Connector> Balancer<C> {
    pub(super) fn handle_resolution(&mut self) {
        let Resolution { endpoints, error } = self.config.resolutions.latest.borrow_and_update().clone();
        self.picker_outdated |= self.none_ready();
        let Some((endpoints, _)) = endpoints else { return };
        // A failure keeps the last set. That set may still be unprocessed, because only the latest publication is seen.
        if error.is_some()
            && self.resolved_endpoints.as_ref().is_some_and(|known| Arc::ptr_eq(known, &endpoints))
        {
            return;
        }
        let known = self.resolved_endpoints.replace(endpoints.clone()).unwrap_or_default();
        self.config.locality.update(endpoints);
        self.update_endpoints();
        for endpoint in self.endpoints.iter() {
            if let Some(entry) = self.entries.get(&endpoint.address) {
                entry.subchannel.update_endpoint(endpoint);
                // An endpoint that is new in this set, or that is a different pod now, is tried at once. Others keep
                // their backoff, so that a dead address is not tried by every client after every lookup.
                if !known.contains(endpoint) {
                    entry.handle.reset_backoff();
                }
            }
        }
    }

    /// Applies the policy's selection to the endpoints that the locality prefers.
    fn update_endpoints(&mut self) {
        self.endpoints = self.config.policy.endpoints(self.config.locality.endpoints());
        self.wanted = None;
    }

    /// Widens the set beyond the preferred zone while no endpoint in it takes calls, and narrows it again.
    pub(super) fn update_locality(&mut self, waited: bool) {
        let (entries, locality) = (&self.entries, &mut self.config.locality);
        let takes_calls = |address: &_| entries.get(address).is_some_and(|entry| entry.available().is_some());
        let lost = !entries.is_empty()
            && entries.values().all(|entry| entry.available().is_none())
            && (waited || entries.values().all(|entry| entry.failing));
        if lost && locality.widen() || locality.narrow(takes_calls) {
            self.update_endpoints();
        }
    }

    /// Starts subchannels for endpoints that the policy selects, and marks those that it does not select.
    fn update_subchannels(&mut self) {
        let entries = &self.entries;
        let candidate_state = |endpoint: &Endpoint| {
            entries.get(&endpoint.address).map_or(CandidateState::Idle, SubchannelEntry::candidate_state)
        };
        let candidates = Candidates { endpoints: &self.endpoints, state: &candidate_state };
        let wanted = self.config.policy.connects(&candidates);
        if self.wanted.as_ref() == Some(&wanted) {
            return;
        }
        self.wanted = Some(wanted.clone());
        for entry in self.entries.values_mut() {
            entry.wanted = false;
        }
        let endpoints = self.endpoints.clone();
        for endpoint in &endpoints[wanted] {
            match self.entries.get_mut(&endpoint.address) {
                Some(entry) => entry.wanted = true,
                None => self.start(endpoint.clone()),
            }
        }
    }

    fn start(&mut self, endpoint: Endpoint) {
        let address = endpoint.address;
        let consecutive_failures = ConsecutiveFailures::new(&self.config.outliers, self.failures.clone());
        let subchannel = Arc::new(Subchannel::new(endpoint, consecutive_failures));
        self.started += 1;
        let task = SubchannelTask {
            id: self.started,
            subchannel: subchannel.clone(),
            connector: self.config.connector.clone(),
            http2: self.config.http2.clone(),
            backoff: self.config.backoff,
            health_check: self.config.health_check.clone(),
            connections: self.config.connections.clone(),
            events: self.events.clone(),
        };
        let entry = SubchannelEntry {
            id: self.started,
            subchannel,
            handle: task.spawn(),
            ready: None,
            failing: false,
            wanted: true,
            silent: false,
            ejection: EjectionState::default(),
        };
        self.entries.insert(address, entry);
        self.picker_outdated = true;
    }

    pub(super) fn handle_event(&mut self, SubchannelEvent { id, update }: SubchannelEvent) {
        let Some(entry) = self.entries.values_mut().find(|entry| entry.id == id) else { return };
        if let SubchannelUpdate::TransientFailure(error) = &update {
            self.last_failure = error.to_string();
        }
        let had = entry.ready.is_some() || entry.failing;
        self.picker_outdated |= entry.apply(update);
        // A connection was lost or could not be established: the addresses may have changed.
        if entry.ready.is_none() && (had || entry.failing) {
            self.config.resolutions.request_refresh.notify_one();
        }
    }

    /// Ejects outliers, and reinstates endpoints whose ejection is over.
    pub(super) fn detect_outliers(&mut self) {
        let mut endpoints: Vec<_> =
            self.entries.values_mut().map(SubchannelEntry::detector_endpoint).collect();
        self.picker_outdated |= self.detector.run(&mut endpoints);
    }

    fn none_ready(&self) -> bool {
        self.entries.values().all(|entry| entry.ready.is_none())
    }

    /// Returns whether no endpoint is available: READY and healthy.
    pub(super) fn none_available(&self) -> bool {
        self.entries.values().all(|entry| entry.available().is_none())
    }

    pub(super) fn reset_backoff(&self) {
        for entry in self.entries.values() {
            entry.handle.reset_backoff();
        }
    }

    /// Starts the subchannels that the policy selects, drops those that are no longer needed, and publishes changes.
    pub(super) fn reconcile(&mut self) {
        self.update_locality(false);
        self.update_subchannels();
        let covered = self.entries.values().any(|entry| entry.wanted && entry.available().is_some());
        let before = self.entries.len();
        self.entries.retain(|_, entry| entry.wanted || entry.ready.is_some() && !covered);
        if self.picker_outdated || self.entries.len() != before {
            self.picker_outdated = false;
            self.publish();
        }
    }

    fn publish(&mut self) {
        let entries = self.entries.values();
        let mut ready: Vec<_> = entries.clone().filter_map(SubchannelEntry::available).cloned().collect();
        if ready.is_empty() {
            // Falls back to unhealthy endpoints rather than failing every call.
            ready = entries.filter_map(|entry| entry.ready.clone()).collect();
        }
        let picker = if ready.is_empty() {
            match self.unavailable() {
                Some(why) => ChannelPicker::TransientFailure(why),
                None => ChannelPicker::Connecting,
            }
        } else {
            ChannelPicker::Ready(self.config.policy.picker(ready))
        };
        for entry in self.entries.values() {
            entry.subchannel.set_exclusion(entry.ejection.ejected_until(), entry.silent);
        }
        let subchannels = self.entries.values().map(|entry| entry.subchannel.clone()).collect();
        self.config.published.publish(picker, subchannels);
    }

    /// Returns why calls fail, if no subchannel is READY or connecting.
    fn unavailable(&self) -> Option<Unavailable> {
        let resolution = self.config.resolutions.latest.borrow();
        if self.entries.is_empty() {
            return match (&resolution.error, &resolution.endpoints) {
                (Some(error), _) => Some(Unavailable::Unresolved(error.to_string())),
                (None, Some(_)) => Some(Unavailable::NoEndpoints),
                (None, None) => None,
            };
        }
        let all = self.entries.values().all(|entry| entry.failing);
        all.then(|| Unavailable::Disconnected {
            endpoints: self.entries.len(),
            last: self.last_failure.clone(),
        })
    }
}
