//! Consecutive failures, counted by the calls themselves.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tokio::sync::Notify;

/// The outcome of a call as evidence about its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallOutcome {
    /// The endpoint answered.
    Success,
    /// The endpoint let the deadline pass without a word, or said itself that it cannot serve.
    Failure,
    /// Nothing: the caller cancelled, the connection was lost (which the subchannel's state says
    /// better), or a response that had begun broke off.
    Ignored,
}

/// The number of calls that in a row an endpoint has failed.
///
/// A call that succeeds reads one atomic here; only one that fails writes.
#[derive(Debug)]
pub(crate) struct ConsecutiveFailures {
    failures: AtomicU32,
    /// The number of are that too many; 0 for never.
    limit: u32,
    /// Wakes the balancer.
    notify: Arc<Notify>,
}

// === impl ConsecutiveFailures ===

impl ConsecutiveFailures {
    pub(crate) fn new(limit: u32, notify: Arc<Notify>) -> Self {
        Self { failures: AtomicU32::new(0), limit, notify }
    }

    pub(crate) fn record(&self, outcome: CallOutcome) {
        match outcome {
            CallOutcome::Success => self.reset(),
            CallOutcome::Failure if self.limit > 0 => {
                let failures = self.failures.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
                // Said again now and then: nothing more may be ejected at the first time.
                if failures.is_multiple_of(self.limit) {
                    self.notify.notify_one();
                }
            }
            CallOutcome::Failure | CallOutcome::Ignored => {}
        }
    }

    pub(crate) fn reset(&self) {
        // Read first, so that the cache line of an endpoint that works stays shared.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn limit_reached(&self) -> bool {
        self.limit > 0 && self.failures.load(Ordering::Relaxed) >= self.limit
    }
}
