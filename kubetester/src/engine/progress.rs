//! The progress of a running load: counters that the workers write and the progress line reads.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// The counters of all workers.
#[derive(Debug, Default)]
pub struct Progress(Mutex<Vec<Arc<WorkerProgress>>>);

/// The counters of one worker. Each worker writes its own cache line, without contention.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerProgress {
    calls: AtomicU64,
    failed: AtomicU64,
    pods: AtomicUsize,
}

// === impl Progress ===

impl Progress {
    /// Returns the number of calls that have ended.
    pub fn calls(&self) -> u64 {
        self.sum(|worker| worker.calls.load(Ordering::Relaxed))
    }

    /// Returns the number of calls that have failed.
    pub fn failed(&self) -> u64 {
        self.sum(|worker| worker.failed.load(Ordering::Relaxed))
    }

    /// Returns the largest number of pods that any worker has seen. Workers do not share the names of pods.
    pub fn pods(&self) -> usize {
        let workers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        workers.iter().map(|worker| worker.pods.load(Ordering::Relaxed)).max().unwrap_or(0)
    }

    /// Adds counters for another worker.
    pub(super) fn add_worker(&self) -> Arc<WorkerProgress> {
        let counters = Arc::default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&counters));
        counters
    }

    fn sum(&self, counter: impl Fn(&WorkerProgress) -> u64) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|worker| counter(worker)).sum()
    }
}

// === impl WorkerProgress ===

impl WorkerProgress {
    pub(super) fn count(&self, failed: bool, pods: usize) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.failed.fetch_add(u64::from(failed), Ordering::Relaxed);
        self.pods.store(pods, Ordering::Relaxed);
    }
}
