//! The part of a server's capacity that each connection has to itself.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Counts what one connection has in flight of what is guaranteed to it. Every request of the connection has a clone in
/// its extensions.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionSlots(Arc<Counters>);

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

/// A slot of a connection in use, until it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    slots: ConnectionSlots,
    kind: Kind,
}

// === impl ConnectionSlots ===

impl ConnectionSlots {
    /// Takes a slot, if fewer than `guaranteed` are in use.
    pub(crate) fn try_acquire(&self, kind: Kind, guaranteed: usize) -> Option<ConnectionSlot> {
        let more = |used: usize| (used < guaranteed).then_some(used + 1);
        self.counter(kind).fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(ConnectionSlot { slots: self.clone(), kind })
    }

    fn counter(&self, kind: Kind) -> &AtomicUsize {
        match kind {
            Kind::Unary => &self.0.unary,
            Kind::Streaming => &self.0.streaming,
        }
    }
}

// === impl ConnectionSlot ===

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.slots.counter(self.kind).fetch_sub(1, Relaxed);
    }
}
