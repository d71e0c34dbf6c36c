//! The balancer's record of one subchannel, and the effects of a change of its state.

use std::sync::Arc;

use crate::{
    outlier::{DetectorEndpoint, EjectionState},
    policy::CandidateState,
    subchannel::{Connectivity, ReadySubchannel, Subchannel, SubchannelHandle, SubchannelUpdate},
};

/// The balancer's record of one subchannel.
pub(crate) struct SubchannelEntry {
    pub(crate) id: u64,
    pub(crate) subchannel: Arc<Subchannel>,
    pub(crate) handle: SubchannelHandle,
    pub(crate) ready: Option<Arc<ReadySubchannel>>,
    /// True if an attempt to connect has failed since the subchannel was last READY. It stays true during the next
    /// attempt (gRPC: TRANSIENT_FAILURE is sticky).
    pub(crate) failing: bool,
    /// True if the policy has selected the endpoint.
    pub(crate) wanted: bool,
    /// True if the peer leaves keepalive PINGs unanswered.
    pub(crate) silent: bool,
    pub(crate) ejection: EjectionState,
}

// === impl SubchannelEntry ===

impl SubchannelEntry {
    /// Returns the connection, if calls should go to it.
    pub(crate) fn available(&self) -> Option<&Arc<ReadySubchannel>> {
        self.ready.as_ref().filter(|_| !self.silent && self.ejection.ejected_until().is_none())
    }

    /// Returns the state for the policy. An ejected endpoint is in TRANSIENT_FAILURE (gRFC A50).
    pub(crate) fn candidate_state(&self) -> CandidateState {
        if self.available().is_some() {
            CandidateState::Ready
        } else if self.failing || self.ready.is_some() {
            CandidateState::TransientFailure
        } else {
            CandidateState::Connecting(self.subchannel.status().since)
        }
    }

    /// Returns the endpoint as outlier detection sees it.
    pub(crate) fn detector_endpoint(&mut self) -> DetectorEndpoint<'_> {
        let Subchannel { endpoint, calls, consecutive_failures, .. } = &*self.subchannel;
        DetectorEndpoint {
            address: endpoint.address,
            calls,
            consecutive_failures,
            ejection: &mut self.ejection,
            ready: self.ready.is_some(),
        }
    }

    /// Applies a new state. Returns whether the picker must change.
    pub(crate) fn apply(&mut self, update: SubchannelUpdate) -> bool {
        let address = self.subchannel.endpoint.address;
        let name = self.subchannel.status().name;
        let name = name.as_deref();
        if let SubchannelUpdate::Silent(silent) = update {
            self.silent = silent;
            if silent {
                tracing::info!(%address, name, "subchannel does not answer keepalive PINGs; calls go elsewhere");
            } else {
                tracing::info!(%address, name, "subchannel is responsive again");
                // Failures while the peer was unresponsive no longer count, as it responds again.
                self.ejection.clear();
                self.subchannel.consecutive_failures.reset();
            }
            return true;
        }
        let was_ready = self.ready.take().is_some();
        self.silent = false;
        match update {
            SubchannelUpdate::Silent(_) => false,
            SubchannelUpdate::Connecting { lost } => {
                if let Some(why) = &lost {
                    tracing::info!(%address, name, state = "CONNECTING", why, "subchannel lost its connection");
                }
                self.subchannel.enter(Connectivity::Connecting, lost);
                was_ready
            }
            SubchannelUpdate::Ready(ready) => {
                tracing::info!(%address, name, state = "READY", "subchannel connected");
                self.subchannel.enter(Connectivity::Ready, None);
                self.failing = false;
                self.ejection.clear();
                self.subchannel.consecutive_failures.reset();
                self.ready = Some(ready);
                true
            }
            SubchannelUpdate::TransientFailure(error) => {
                let first = !std::mem::replace(&mut self.failing, true);
                if first {
                    tracing::info!(%address, name, state = "TRANSIENT_FAILURE", %error, "subchannel failed to connect");
                }
                self.subchannel.enter(Connectivity::TransientFailure, Some(error.to_string()));
                was_ready || first
            }
        }
    }
}
