//! Bounds the requests in flight. There is no queue: under overload, waiting only makes every answer late.

use prometheus::IntCounter;
use service::Metrics;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Counts the requests in flight against a limit.
#[derive(Debug)]
pub(crate) struct Admission {
    free: Semaphore,
    limit: usize,
    shed: IntCounter,
}

/// A request came while as many as allowed were in flight.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("as many requests are in flight as the gateway takes ({limit}); try again in a second")]
pub(crate) struct Overloaded {
    limit: usize,
}

// === impl Admission ===

impl Admission {
    /// Takes `limit` requests at once, and never more than [`Semaphore::MAX_PERMITS`]. Counts the others in
    /// `helloserve_shed_requests_total`.
    pub(crate) fn new(limit: usize, metrics: &Metrics) -> Self {
        let shed = IntCounter::new(
            "helloserve_shed_requests_total",
            "Requests answered 503 because MAX_CONCURRENT_REQUESTS were in flight.",
        )
        .expect("the name is valid");
        metrics.register(shed.clone());
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self { free: Semaphore::new(limit), limit, shed }
    }

    /// Lets one request in until the permit is dropped.
    ///
    /// # Errors
    ///
    /// When the limit is reached.
    pub(crate) fn enter(&self) -> Result<SemaphorePermit<'_>, Overloaded> {
        self.free.try_acquire().map_err(|_| {
            self.shed.inc();
            Overloaded { limit: self.limit }
        })
    }
}
