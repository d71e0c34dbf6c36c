//! Bounds the requests in flight. There is no queue: under overload, waiting only makes every response late.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use prometheus::IntCounter;
use service::Metrics;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{error::Error, gateway::Gateway};

/// Counts the requests in flight against a limit.
#[derive(Debug)]
pub(crate) struct Admission {
    free: Arc<Semaphore>,
    limit: usize,
    shed: IntCounter,
}

/// The right to be in flight, until it is dropped. As an extractor it admits the request before its body is read.
#[derive(Debug)]
pub(crate) struct Permit(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// The limit on requests in flight is reached.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("gateway is at its limit of {limit} requests in flight; retry after a second")]
pub(crate) struct Overloaded {
    limit: usize,
}

// === impl Admission ===

impl Admission {
    /// Admits `limit` requests at once, at most [`Semaphore::MAX_PERMITS`]. Counts the others in
    /// `helloserve_shed_requests_total`.
    pub(crate) fn new(limit: usize, metrics: &Metrics) -> Self {
        let shed = IntCounter::new(
            "helloserve_shed_requests_total",
            "Requests answered 503 because MAX_CONCURRENT_REQUESTS were in flight.",
        )
        .expect("the name is valid");
        metrics.register(shed.clone());
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(limit)), limit, shed }
    }

    fn try_acquire(&self) -> Result<Permit, Overloaded> {
        self.free.clone().try_acquire_owned().map(Permit).map_err(|_| {
            self.shed.inc();
            Overloaded { limit: self.limit }
        })
    }
}

// === impl Permit ===

impl FromRequestParts<Arc<Gateway>> for Permit {
    type Rejection = Error;

    async fn from_request_parts(_: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Error> {
        Ok(gateway.admission.try_acquire()?)
    }
}
