//! Limits the calls in flight on a connection to MAX_CONCURRENT_STREAMS of the peer's SETTINGS (RFC 9113, section
//! 5.1.2). Further calls wait in order of arrival.
//!
//! h2 has such a queue, but it sends and resets a call that was cancelled in the queue, and servers treat many such
//! resets as an attack. For this reason at most one call waits in h2.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The streams that calls may open.
#[derive(Debug)]
pub(super) struct StreamQuota {
    in_flight: AtomicUsize,
    limit: AtomicUsize,
    /// The permit for one call above the limit, which is passed to h2. h2 may have a free stream for it: the stream of
    /// a response that its caller has not read to the end may be closed already.
    above_limit: Arc<Semaphore>,
}

/// The permission to open a stream.
#[derive(Debug)]
pub(super) enum StreamGrant {
    /// A stream is free.
    WithinLimit,
    /// A stream may not be free yet. The permit must be held until the stream is open.
    AboveLimit(OwnedSemaphorePermit),
}

// === impl StreamQuota ===

impl Default for StreamQuota {
    fn default() -> Self {
        Self {
            in_flight: AtomicUsize::new(0),
            limit: AtomicUsize::new(usize::MAX),
            above_limit: Arc::new(Semaphore::new(1)),
        }
    }
}

impl StreamQuota {
    /// Waits for this call's turn and takes a slot, which must be released. Returns `None` if the connection takes no
    /// more calls.
    pub(super) async fn acquire(&self) -> Option<StreamGrant> {
        if self.above_limit.available_permits() > 0 {
            if self.in_flight.fetch_add(1, Ordering::Relaxed) < self.limit.load(Ordering::Relaxed) {
                return Some(StreamGrant::WithinLimit);
            }
            self.release();
        }
        let permit = self.above_limit.clone().acquire_owned().await.ok()?;
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(StreamGrant::AboveLimit(permit))
    }

    pub(super) fn release(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Sets how many calls the peer allows.
    pub(super) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Returns whether calls are in flight.
    pub(super) fn in_use(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    /// Refuses all further calls, including those that wait.
    pub(super) fn close(&self) {
        self.above_limit.close();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.above_limit.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Poll};

    use futures_util::{FutureExt, poll};

    use super::*;

    /// Returns the grant for a call, or `None` if the call has to wait.
    fn in_flight(quota: &StreamQuota) -> Option<StreamGrant> {
        quota.acquire().now_or_never().map(|in_flight| in_flight.expect("it is open"))
    }

    #[tokio::test]
    async fn calls_above_the_limit_proceed_one_at_a_time_in_order() {
        let quota = StreamQuota::default();
        quota.set_limit(2);
        assert!(!quota.in_use());
        assert!(matches!(in_flight(&quota), Some(StreamGrant::WithinLimit)));
        assert!(matches!(in_flight(&quota), Some(StreamGrant::WithinLimit)));
        let Some(StreamGrant::AboveLimit(permit)) = in_flight(&quota) else { panic!("one may ask h2") };
        let (mut first, mut last) = (Box::pin(quota.acquire()), pin!(quota.acquire()));
        assert!(poll!(&mut first).is_pending() && poll!(&mut last).is_pending());
        quota.release();
        quota.release();
        assert!(in_flight(&quota).is_none(), "calls keep their order");
        drop(first);
        drop(permit);
        let Poll::Ready(Some(StreamGrant::AboveLimit(permit))) = poll!(&mut last) else {
            panic!("it is its turn")
        };
        drop(permit);
        quota.release();
        assert!(matches!(in_flight(&quota), Some(StreamGrant::WithinLimit)));
        quota.release();
        quota.release();
        assert!(!quota.in_use());
    }

    #[tokio::test]
    async fn close_ends_waiting_calls() {
        let quota = StreamQuota::default();
        quota.set_limit(0);
        let _gate = in_flight(&quota);
        let mut waiting = pin!(quota.acquire());
        assert!(poll!(&mut waiting).is_pending());
        quota.close();
        assert!(waiting.await.is_none() && quota.is_closed());
    }
}
