//! One subchannel as the balancer holds it, and what a change of its state means there.

use std::sync::Arc;

use crate::{
    outlier::{Host, Record},
    policy::Standing,
    subchannel::{Connectivity, Handle, Ready, State, Subchannel},
};

/// One subchannel of the pool.
pub(crate) struct Member {
    pub(crate) number: u64,
    pub(crate) subchannel: Arc<Subchannel>,
    pub(crate) handle: Handle,
    pub(crate) ready: Option<Arc<Ready>>,
    /// Whether an attempt has failed since it was last READY. The next attempt does not make it
    /// healthier (gRPC: TRANSIENT_FAILURE is sticky).
    pub(crate) failing: bool,
    /// Whether the policy wants it connected.
    pub(crate) wanted: bool,
    /// Whether its peer leaves keepalive pings unanswered.
    pub(crate) silent: bool,
    pub(crate) record: Record,
}

// === impl Member ===

impl Member {
    /// Its connection, if calls should go to it.
    pub(crate) fn available(&self) -> Option<&Arc<Ready>> {
        self.ready.as_ref().filter(|_| !self.silent && self.record.ejected_until().is_none())
    }

    /// How it stands for the policy, to which an endpoint that is left out is one that fails (as in
    /// gRFC A50).
    pub(crate) fn standing(&self) -> Standing {
        if self.available().is_some() {
            Standing::Ready
        } else if self.failing || self.ready.is_some() {
            Standing::Failing
        } else {
            Standing::Connecting(self.subchannel.status().since)
        }
    }

    /// For outlier detection.
    pub(crate) fn host(&mut self) -> Host<'_> {
        let Subchannel { endpoint, calls, streak, .. } = &*self.subchannel;
        Host {
            address: endpoint.address,
            calls,
            streak,
            record: &mut self.record,
            ready: self.ready.is_some(),
        }
    }

    /// Takes a new state in; says whether the picker must change.
    pub(crate) fn enter(&mut self, state: State) -> bool {
        let address = self.subchannel.endpoint.address;
        let name = self.subchannel.status().name;
        let name = name.as_deref();
        if let State::Silent(silent) = state {
            self.silent = silent;
            if silent {
                tracing::info!(%address, name, "subchannel answers no keepalive ping; calls go elsewhere");
            } else {
                tracing::info!(%address, name, "subchannel is heard again");
                // Whatever calls it failed while it said nothing at all, it goes on now.
                self.record.revived();
                self.subchannel.streak.reset();
            }
            return true;
        }
        let was_ready = self.ready.take().is_some();
        self.silent = false;
        match state {
            State::Silent(_) => false,
            State::Connecting { lost } => {
                if let Some(why) = &lost {
                    tracing::info!(%address, name, state = "CONNECTING", why, "subchannel lost its connection");
                }
                self.subchannel.enter(Connectivity::Connecting, lost);
                was_ready
            }
            State::Ready(ready) => {
                tracing::info!(%address, name, state = "READY", "subchannel is connected");
                self.subchannel.enter(Connectivity::Ready, None);
                self.failing = false;
                self.record.revived();
                self.subchannel.streak.reset();
                self.ready = Some(ready);
                true
            }
            State::TransientFailure(error) => {
                let first = !std::mem::replace(&mut self.failing, true);
                if first {
                    tracing::info!(%address, name, state = "TRANSIENT_FAILURE", %error, "subchannel fails");
                }
                self.subchannel.enter(Connectivity::TransientFailure, Some(error.to_string()));
                was_ready || first
            }
        }
    }
}
