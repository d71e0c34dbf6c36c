//! Consecutive failures, counted by the calls themselves.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tokio::sync::Notify;

/// What the end of a call says of the endpoint that it went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// The endpoint answered.
    Alive,
    /// The endpoint let the deadline pass without a word, or said itself that it cannot serve.
    Failing,
    /// Nothing: the caller cancelled, the connection was lost (which the subchannel's state says
    /// better), or a response that had begun broke off.
    Nothing,
}

/// How many calls in a row an endpoint has failed.
///
/// A call that succeeds reads one atomic here; only one that fails writes.
#[derive(Debug)]
pub(crate) struct Streak {
    failures: AtomicU32,
    /// How many are too many; 0 for never.
    limit: u32,
    /// Wakes the balancer.
    over: Arc<Notify>,
}

// === impl Streak ===

impl Streak {
    pub(crate) fn new(limit: u32, over: Arc<Notify>) -> Self {
        Self { failures: AtomicU32::new(0), limit, over }
    }

    pub(crate) fn note(&self, sign: Sign) {
        match sign {
            Sign::Alive => self.reset(),
            Sign::Failing if self.limit > 0 => {
                let failures = self.failures.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
                // Said again now and then: nothing more may be ejected at the first time.
                if failures.is_multiple_of(self.limit) {
                    self.over.notify_one();
                }
            }
            Sign::Failing | Sign::Nothing => {}
        }
    }

    pub(crate) fn reset(&self) {
        // Read first, so that the cache line of an endpoint that works stays shared.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.limit > 0 && self.failures.load(Ordering::Relaxed) >= self.limit
    }
}
