//! The part of a server's capacity that each connection has to itself.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Counts what one connection has in flight of what is guaranteed to it. Every request of the connection has a clone in
/// its extensions.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionQuota(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    unary: AtomicUsize,
    streaming: AtomicUsize,
}

/// The two kinds of calls, which have limits of their own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Unary,
    Streaming,
}

/// The right to one call of the quota, until it is dropped.
#[derive(Debug)]
pub(crate) struct QuotaPermit {
    quota: ConnectionQuota,
    kind: Kind,
}

// === impl ConnectionQuota ===

impl ConnectionQuota {
    /// Admits one more, if fewer than `guaranteed` are in flight.
    pub(crate) fn try_acquire(&self, kind: Kind, guaranteed: usize) -> Option<QuotaPermit> {
        let more = |used: usize| (used < guaranteed).then_some(used + 1);
        self.counter(kind).fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(QuotaPermit { quota: self.clone(), kind })
    }

    fn counter(&self, kind: Kind) -> &AtomicUsize {
        match kind {
            Kind::Unary => &self.0.unary,
            Kind::Streaming => &self.0.streaming,
        }
    }
}

// === impl QuotaPermit ===

impl Drop for QuotaPermit {
    fn drop(&mut self) {
        self.quota.counter(self.kind).fetch_sub(1, Relaxed);
    }
}
