//! The progress of a running load: counters that the workers write and the progress line reads.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// The counters of all workers.
#[derive(Debug, Default)]
pub struct Progress(Mutex<Vec<Arc<Seen>>>);

/// The counters of one worker. Each worker writes its own cache line, without contention.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Seen {
    calls: AtomicU64,
    failed: AtomicU64,
    pods: AtomicUsize,
}

// === impl Progress ===

impl Progress {
    /// Returns the number of calls that have ended.
    pub fn calls(&self) -> u64 {
        self.sum(|seen| seen.calls.load(Ordering::Relaxed))
    }

    /// Returns the number of calls that have failed.
    pub fn failed(&self) -> u64 {
        self.sum(|seen| seen.failed.load(Ordering::Relaxed))
    }

    /// Returns the largest number of pods that any worker has seen. Workers do not share the names of pods.
    pub fn pods(&self) -> usize {
        let workers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        workers.iter().map(|seen| seen.pods.load(Ordering::Relaxed)).max().unwrap_or(0)
    }

    /// Adds counters for another worker.
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
