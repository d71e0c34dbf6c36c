//! Limits the requests in flight, and reserves a part for each connection.
//!
//! Half of a limit is divided equally among the connections that the server accepts; all connections share the other half.
//! A client that fills the server with requests therefore cannot lock the others out.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use http::Extensions;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A limit on the requests in flight of one kind.
#[derive(Debug)]
pub struct InFlightLimit {
    kind: RequestKind,
    /// The requests that each connection may always have in flight.
    guaranteed: usize,
    shared: Arc<Semaphore>,
}

/// The kinds of requests, each of which has a limit of its own.
#[derive(Clone, Copy, Debug)]
pub enum RequestKind {
    /// One response to one request.
    Unary,
    /// A call that streams in either direction.
    Streaming,
}

/// The right of one request to be in flight, until it is dropped.
#[derive(Debug)]
pub struct Permit(#[expect(dead_code, reason = "held for its drop")] Part);

/// The part of the limit that a permit is of.
#[derive(Debug)]
#[expect(dead_code, reason = "held for its drop")]
enum Part {
    Own(QuotaPermit),
    Shared(OwnedSemaphorePermit),
}

/// Counts the requests that one connection has in flight of those guaranteed to it. Every request of the connection has a
/// clone in its extensions.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionQuota(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    unary: AtomicUsize,
    streaming: AtomicUsize,
}

#[derive(Debug)]
struct QuotaPermit {
    quota: ConnectionQuota,
    kind: RequestKind,
}

// === impl InFlightLimit ===

impl InFlightLimit {
    /// Returns a limit of `limit` requests, at most [`Semaphore::MAX_PERMITS`], for a server that accepts `connections`.
    pub fn new(kind: RequestKind, limit: usize, connections: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        let guaranteed = limit / 2 / connections;
        let shared = Arc::new(Semaphore::new(limit - guaranteed * connections));
        Self { kind, guaranteed, shared }
    }

    /// Admits the request with these extensions, or returns `None` if as many as the limit are in flight.
    pub fn try_acquire(&self, extensions: &Extensions) -> Option<Permit> {
        let own = extensions.get::<ConnectionQuota>();
        let part = match own.and_then(|quota| quota.try_acquire(self.kind, self.guaranteed)) {
            Some(permit) => Part::Own(permit),
            None => Part::Shared(Arc::clone(&self.shared).try_acquire_owned().ok()?),
        };
        Some(Permit(part))
    }
}

// === impl ConnectionQuota ===

impl ConnectionQuota {
    /// Admits one more, if fewer than `guaranteed` are in flight.
    fn try_acquire(&self, kind: RequestKind, guaranteed: usize) -> Option<QuotaPermit> {
        let more = |used: usize| (used < guaranteed).then_some(used + 1);
        self.counter(kind).fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(QuotaPermit { quota: self.clone(), kind })
    }

    fn counter(&self, kind: RequestKind) -> &AtomicUsize {
        match kind {
            RequestKind::Unary => &self.0.unary,
            RequestKind::Streaming => &self.0.streaming,
        }
    }
}

// === impl QuotaPermit ===

impl Drop for QuotaPermit {
    fn drop(&mut self) {
        self.quota.counter(self.kind).fetch_sub(1, Relaxed);
    }
}
