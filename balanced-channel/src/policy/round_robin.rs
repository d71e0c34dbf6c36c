//! `round_robin`: every READY subchannel in strict turn.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{LbPolicy, PickArgs, PickResult, Picker};
use crate::subchannel::ReadySubchannel;

/// The counter of turns, which successive pickers share.
#[derive(Debug)]
pub(crate) struct RoundRobinPolicy {
    turn: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct RoundRobinPicker {
    ready: Vec<Arc<ReadySubchannel>>,
    turn: Arc<AtomicUsize>,
}

// === impl RoundRobinPolicy ===

impl Default for RoundRobinPolicy {
    /// Starts at a random endpoint, so that clients that start together do not all call the same pod first.
    fn default() -> Self {
        Self { turn: Arc::new(AtomicUsize::new(fastrand::usize(..))) }
    }
}

impl LbPolicy for RoundRobinPolicy {
    fn picker(&mut self, ready: Vec<Arc<ReadySubchannel>>) -> Box<dyn Picker> {
        Box::new(RoundRobinPicker { ready, turn: self.turn.clone() })
    }
}

// === impl RoundRobinPicker ===

impl Picker for RoundRobinPicker {
    fn pick(&self, _: &PickArgs<'_>) -> Option<PickResult> {
        // Skips connections that were lost since the picker was created.
        self.ready.iter().find_map(|_| {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let ready = &self.ready[turn % self.ready.len()];
            ready.is_open().then(|| PickResult::from(ready))
        })
    }
}
