//! The state that the balancer publishes and all others read: the picker, and the list of subchannels.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::{
    policy::Picker,
    subchannel::{Connectivity, Subchannel},
};

/// The published side of a channel. Reading takes no lock.
#[derive(Debug)]
pub(crate) struct Published {
    picker: ArcSwap<ChannelPicker>,
    subchannels: ArcSwap<Vec<Arc<Subchannel>>>,
    /// Counts the pickers, for calls that wait for the next one.
    version: watch::Sender<u64>,
}

/// The fate of the next call.
#[derive(Debug)]
pub(crate) enum ChannelPicker {
    /// It is sent.
    Ready(Box<dyn Picker>),
    /// The call waits: connections are being established.
    Connecting,
    /// The call fails, unless it is wait-for-ready.
    TransientFailure(Unavailable),
    /// The call fails: the channel's tasks have ended.
    Closed,
}

/// The reason why no call can be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unavailable {
    /// Nothing was ever found.
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

    /// Publishes that the balancer has ended, and that no picker will follow.
    pub(super) fn close(&self) {
        self.picker.store(Arc::new(ChannelPicker::Closed));
        self.version.send_modify(|version| *version += 1);
    }

    /// The picker of this moment; not to be held across an await.
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

    /// Sees every picker that is published from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    pub(crate) fn subchannels(&self) -> Arc<Vec<Arc<Subchannel>>> {
        self.subchannels.load_full()
    }
}
