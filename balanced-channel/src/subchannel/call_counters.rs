//! Counts the calls of one subchannel without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

use tonic::Code;

/// The number of calls that were sent to a subchannel, by outcome.
#[derive(Debug, Default)]
pub(crate) struct CallCounters {
    pub(crate) started: AtomicU64,
    pub(crate) succeeded: AtomicU64,
    pub(crate) failed: AtomicU64,
    /// The failed calls that are no evidence against the endpoint, such as those that the caller cancelled.
    pub(crate) excluded: AtomicU64,
}

// === impl CallCounters ===

impl CallCounters {
    pub(crate) fn begin(&self) {
        self.started.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts the end of a call. Outlier detection ignores failures that are `excluded`.
    pub(crate) fn end(&self, outcome: Code, excluded: bool) {
        if excluded && outcome != Code::Ok {
            self.excluded.fetch_add(1, Ordering::AcqRel);
        }
        let counter = if outcome == Code::Ok { &self.succeeded } else { &self.failed };
        counter.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn started(&self) -> u64 {
        self.started.load(Ordering::Acquire)
    }

    pub(crate) fn in_flight(&self) -> u64 {
        // Reads the ended calls first, so that a call that ends between the reads still counts as in flight.
        let ended = self.succeeded.load(Ordering::Acquire) + self.failed.load(Ordering::Acquire);
        self.started().saturating_sub(ended)
    }
}
