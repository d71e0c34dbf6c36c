//! The progress line of a running load: counters that the workers write and a terminal reads.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// The counters of all crews.
#[derive(Debug, Default)]
pub struct Progress(Mutex<Vec<Arc<Seen>>>);

/// The counters of one crew. Each crew writes its own cache line, and nobody waits for anybody.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Seen {
    calls: AtomicU64,
    failed: AtomicU64,
    pods: AtomicUsize,
}

// === impl Progress ===

impl Progress {
    /// Calls that ended so far.
    pub fn calls(&self) -> u64 {
        self.sum(|seen| seen.calls.load(Ordering::Relaxed))
    }

    /// Calls that failed so far.
    pub fn failed(&self) -> u64 {
        self.sum(|seen| seen.failed.load(Ordering::Relaxed))
    }

    /// Pods seen so far by the crew that saw most: crews do not know each other's.
    pub fn pods(&self) -> usize {
        let crews = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        crews.iter().map(|seen| seen.pods.load(Ordering::Relaxed)).max().unwrap_or(0)
    }

    /// Counters for one more crew.
    pub(super) fn seen(&self) -> Arc<Seen> {
        let seen = Arc::default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&seen));
        seen
    }

    fn sum(&self, of: impl Fn(&Seen) -> u64) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|seen| of(seen)).sum()
    }
}

// === impl Seen ===

impl Seen {
    pub(super) fn count(&self, failed: bool, pods: usize) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.failed.fetch_add(u64::from(failed), Ordering::Relaxed);
        self.pods.store(pods, Ordering::Relaxed);
    }
}
