//! The state that the balancer publishes for calls and snapshots: the picker, and the list of subchannels.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::{
    policy::Picker,
    subchannel::{Connectivity, Subchannel},
};

/// The published state of a channel, which is read without a lock.
#[derive(Debug)]
pub(crate) struct Published {
    picker: ArcSwap<ChannelPicker>,
    subchannels: ArcSwap<Vec<Arc<Subchannel>>>,
    /// The number of published pickers. Calls wait for its next change.
    version: watch::Sender<u64>,
}

/// The picker of a channel, or the treatment of calls without one.
#[derive(Debug)]
pub(crate) enum ChannelPicker {
    /// Calls are sent to a subchannel of this picker.
    Ready(Box<dyn Picker>),
    /// Calls wait while connections are being established.
    Connecting,
    /// Calls fail, unless they are wait-for-ready.
    TransientFailure(Unavailable),
    /// Calls fail because the tasks of the channel have ended.
    Closed,
}

/// The reason why no call can be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unavailable {
    /// No resolution has succeeded yet. Has the error of the resolver.
    #[error("{0}")]
    Unresolved(String),
    /// The resolver published an empty set.
    #[error("the name has no addresses: no endpoint is ready, or the name is wrong")]
    NoEndpoints,
    /// Every endpoint fails to connect.
    #[error("none of the {endpoints} endpoints can be reached; the last failure is {last}")]
    Disconnected { endpoints: usize, last: String },
}

// === impl Published ===

impl Published {
    pub(crate) fn new() -> Self {
        Self {
            picker: ArcSwap::from_pointee(ChannelPicker::Connecting),
            subchannels: ArcSwap::default(),
            version: watch::Sender::new(0),
        }
    }

    pub(crate) fn publish(&self, picker: ChannelPicker, subchannels: Vec<Arc<Subchannel>>) {
        self.subchannels.store(Arc::new(subchannels));
        self.picker.store(Arc::new(picker));
        self.version.send_modify(|version| *version += 1);
    }

    /// Publishes that the balancer has ended and that no picker follows.
    pub(super) fn close(&self) {
        self.picker.store(Arc::new(ChannelPicker::Closed));
        self.version.send_modify(|version| *version += 1);
    }

    /// Returns the current picker. The guard must not be held across an await.
    pub(crate) fn picker(&self) -> arc_swap::Guard<Arc<ChannelPicker>> {
        self.picker.load()
    }

    /// Returns the channel's connectivity state, which follows from the picker.
    pub(crate) fn state(&self) -> Connectivity {
        match **self.picker() {
            ChannelPicker::Ready(_) => Connectivity::Ready,
            ChannelPicker::Connecting => Connectivity::Connecting,
            ChannelPicker::TransientFailure(_) => Connectivity::TransientFailure,
            ChannelPicker::Closed => Connectivity::Shutdown,
        }
    }

    /// Returns a receiver that is notified of every picker published from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    pub(crate) fn subchannels(&self) -> Arc<Vec<Arc<Subchannel>>> {
        self.subchannels.load_full()
    }
}
