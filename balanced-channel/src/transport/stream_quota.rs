//! The number of calls that may be in flight on a connection: what the peer's SETTINGS allow
//! (MAX_CONCURRENT_STREAMS, RFC 9113, section 5.1.2). The others wait in the order in which they came.
//!
//! h2 would queue them too, but a call that is given up in its queue is still sent, and reset, when
//! its turn comes; servers take many of these for an attack. So no more than one waits there.

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
    /// One permit, for a call above the limit. It goes to h2, which may know better: of a response
    /// that nobody has read to its end, the stream can be closed all the same.
    above_limit: Arc<Semaphore>,
}

/// The decision about a call.
#[derive(Debug)]
pub(super) enum StreamGrant {
    /// There is a stream for it.
    WithinLimit,
    /// There may be none yet. To be held until its stream is open.
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
    /// Takes a slot, which must be given back, when it is this call's turn; none when the connection
    /// takes no more calls.
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

    /// Takes no more calls. Those that wait hear of it.
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

    /// Returns whether a call may go on now, and whether it is one above the limit.
    fn in_flight(quota: &StreamQuota) -> Option<StreamGrant> {
        quota.acquire().now_or_never().map(|in_flight| in_flight.expect("it is open"))
    }

    #[tokio::test]
    async fn calls_above_the_limit_go_one_at_a_time_and_in_their_order() {
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
        assert!(in_flight(&quota).is_none(), "nobody overtakes who waits");
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
    async fn who_waits_hears_of_the_end() {
        let quota = StreamQuota::default();
        quota.set_limit(0);
        let _gate = in_flight(&quota);
        let mut waiting = pin!(quota.acquire());
        assert!(poll!(&mut waiting).is_pending());
        quota.close();
        assert!(waiting.await.is_none() && quota.is_closed());
    }
}
