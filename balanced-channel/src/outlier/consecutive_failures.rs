//! Counts consecutive failures on the call path.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::OutlierDetection;

/// The outcome of a call as evidence about its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallOutcome {
    /// The endpoint sent a response.
    Success,
    /// The endpoint had enough time but sent no complete response, or responded that it is unavailable.
    Failure,
    /// No evidence: the caller cancelled or set a deadline that left too little time, the connection was lost (the
    /// subchannel's state has that already), or a stream broke off.
    Ignored,
}

/// The number of calls in a row that an endpoint has failed.
///
/// A successful call only reads one atomic; a failed call writes it.
#[derive(Debug)]
pub(crate) struct ConsecutiveFailures {
    failures: AtomicU32,
    /// The number of failures that ejects an endpoint; 0 turns the rule off.
    limit: u32,
    /// See [`OutlierDetection::min_attempt_time`](super::OutlierDetection::min_attempt_time).
    min_attempt_time: Duration,
    /// Wakes the balancer's task.
    notify: Arc<Notify>,
}

// === impl ConsecutiveFailures ===

impl ConsecutiveFailures {
    pub(crate) fn new(config: &OutlierDetection, notify: Arc<Notify>) -> Self {
        let OutlierDetection { consecutive_failures: limit, min_attempt_time, .. } = *config;
        Self { failures: AtomicU32::new(0), limit, min_attempt_time, notify }
    }

    /// Returns the time that an endpoint must have had for a missed deadline to count as its failure.
    pub(crate) fn min_attempt_time(&self) -> Duration {
        self.min_attempt_time
    }

    pub(crate) fn record(&self, outcome: CallOutcome) {
        match outcome {
            CallOutcome::Success => self.reset(),
            CallOutcome::Failure if self.limit > 0 => {
                let failures = self.failures.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
                // Repeated, because the limit on ejections may have prevented the first ejection.
                if failures.is_multiple_of(self.limit) {
                    self.notify.notify_one();
                }
            }
            CallOutcome::Failure | CallOutcome::Ignored => {}
        }
    }

    pub(crate) fn reset(&self) {
        // Reads first, so that the cache line of a healthy endpoint stays shared between CPUs.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn limit_reached(&self) -> bool {
        self.limit > 0 && self.failures.load(Ordering::Relaxed) >= self.limit
    }
}
