//! Policies: which READY subchannel takes a call. One file each.
//!
//! A policy sees nothing but the READY subchannels. The balancer decides what is connected, and
//! hands each change to the policy as a whole list; the policy answers with a picker, which calls
//! then share without a lock.

mod round_robin;

use std::{fmt::Debug, sync::Arc};

pub(crate) use round_robin::RoundRobin;

use crate::subchannel::Ready;

/// Makes pickers. Lives with the balancer, so it may keep state from one picker to the next.
pub(crate) trait Policy: Debug + Send {
    /// A picker over `ready`, which is never empty, in the order of the addresses.
    fn picker(&mut self, ready: Vec<Arc<Ready>>) -> Box<dyn Pick>;
}

/// Picks for every call, from many threads at once.
pub(crate) trait Pick: Debug + Send + Sync {
    /// The subchannel for the next call, or none when every connection has just been lost.
    fn pick(&self) -> Option<&Arc<Ready>>;
}
