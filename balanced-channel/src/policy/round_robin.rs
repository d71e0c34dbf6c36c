//! `round_robin`: every READY subchannel in strict turn.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{Call, MakePicker, Pick};
use crate::subchannel::Ready;

/// The turn, which goes on from picker to picker.
#[derive(Debug)]
pub(crate) struct RoundRobin {
    turn: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Picker {
    ready: Vec<Arc<Ready>>,
    turn: Arc<AtomicUsize>,
}

// === impl RoundRobin ===

impl Default for RoundRobin {
    /// Starts anywhere, so that many clients that start together do not meet at one pod.
    fn default() -> Self {
        Self { turn: Arc::new(AtomicUsize::new(fastrand::usize(..))) }
    }
}

impl MakePicker for RoundRobin {
    fn picker(&mut self, ready: Vec<Arc<Ready>>) -> Box<dyn Pick> {
        Box::new(Picker { ready, turn: self.turn.clone() })
    }
}

// === impl Picker ===

impl Pick for Picker {
    fn pick(&self, _: &Call<'_>) -> Option<&Arc<Ready>> {
        // A connection may have been lost a moment ago; the next in turn takes its call.
        self.ready.iter().find_map(|_| {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let ready = &self.ready[turn % self.ready.len()];
            ready.is_open().then_some(ready)
        })
    }
}
