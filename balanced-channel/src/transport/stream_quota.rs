//! How many calls may be in flight on a connection: what the peer's SETTINGS allow
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
pub(super) struct Slots {
    taken: AtomicUsize,
    limit: AtomicUsize,
    /// One permit, for a call above the limit. It goes to h2, which may know better: of a response
    /// that nobody has read to its end, the stream can be closed all the same.
    gate: Arc<Semaphore>,
}

/// How a call may go on.
#[derive(Debug)]
pub(super) enum Admission {
    /// There is a stream for it.
    Free,
    /// There may be none yet. To be held until its stream is open.
    Gate(OwnedSemaphorePermit),
}

// === impl Slots ===

impl Default for Slots {
    fn default() -> Self {
        Self {
            taken: AtomicUsize::new(0),
            limit: AtomicUsize::new(usize::MAX),
            gate: Arc::new(Semaphore::new(1)),
        }
    }
}

impl Slots {
    /// Takes a slot, which must be given back, when it is this call's turn; none when the connection
    /// takes no more calls.
    pub(super) async fn take(&self) -> Option<Admission> {
        if self.gate.available_permits() > 0 {
            if self.taken.fetch_add(1, Ordering::Relaxed) < self.limit.load(Ordering::Relaxed) {
                return Some(Admission::Free);
            }
            self.give_back();
        }
        let permit = self.gate.clone().acquire_owned().await.ok()?;
        self.taken.fetch_add(1, Ordering::Relaxed);
        Some(Admission::Gate(permit))
    }

    pub(super) fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }

    /// Sets how many calls the peer allows.
    pub(super) fn allow(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Whether calls are in flight.
    pub(super) fn in_use(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > 0
    }

    /// Takes no more calls. Those that wait hear of it.
    pub(super) fn close(&self) {
        self.gate.close();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.gate.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Poll};

    use futures_util::{FutureExt, poll};

    use super::*;

    /// Whether a call may go on now, and whether it is one above the limit.
    fn taken(slots: &Slots) -> Option<Admission> {
        slots.take().now_or_never().map(|taken| taken.expect("it is open"))
    }

    #[tokio::test]
    async fn calls_above_the_limit_go_one_at_a_time_and_in_their_order() {
        let slots = Slots::default();
        slots.allow(2);
        assert!(!slots.in_use());
        assert!(matches!(taken(&slots), Some(Admission::Free)));
        assert!(matches!(taken(&slots), Some(Admission::Free)));
        let Some(Admission::Gate(permit)) = taken(&slots) else { panic!("one may ask h2") };
        let (mut first, mut last) = (Box::pin(slots.take()), pin!(slots.take()));
        assert!(poll!(&mut first).is_pending() && poll!(&mut last).is_pending());
        slots.give_back();
        slots.give_back();
        assert!(taken(&slots).is_none(), "nobody overtakes who waits");
        drop(first);
        drop(permit);
        let Poll::Ready(Some(Admission::Gate(permit))) = poll!(&mut last) else { panic!("it is its turn") };
        drop(permit);
        slots.give_back();
        assert!(matches!(taken(&slots), Some(Admission::Free)));
        slots.give_back();
        slots.give_back();
        assert!(!slots.in_use());
    }

    #[tokio::test]
    async fn who_waits_hears_of_the_end() {
        let slots = Slots::default();
        slots.allow(0);
        let _gate = taken(&slots);
        let mut waiting = pin!(slots.take());
        assert!(poll!(&mut waiting).is_pending());
        slots.close();
        assert!(waiting.await.is_none() && slots.is_closed());
    }
}
