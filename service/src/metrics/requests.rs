//! Counts, latencies and requests in flight, by route or method.

use std::{borrow::Cow, sync::Arc};

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts};
use tokio::time::Instant;

use super::Metrics;

/// The upper bounds of the latency histograms in seconds, from a call on one machine to a long deadline.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The metrics of one protocol.
#[derive(Clone, Debug)]
pub(crate) struct RequestMetrics {
    handled: IntCounterVec,
    latency: HistogramVec,
    in_flight: IntGaugeVec,
}

/// The names of the metrics of one protocol.
pub(super) struct Names {
    pub(super) handled: &'static str,
    pub(super) latency: &'static str,
    pub(super) in_flight: &'static str,
    /// The label for the route or the method.
    pub(super) target: &'static str,
    pub(super) status: &'static str,
}

/// A request in flight. It is counted with its status and latency when it is dropped.
#[derive(Debug)]
pub(super) struct InFlight {
    metrics: RequestMetrics,
    target: Arc<str>,
    started: Instant,
    gauge: IntGauge,
    /// The status with which the request is counted.
    pub(super) status: Cow<'static, str>,
}

// === impl RequestMetrics ===

impl RequestMetrics {
    pub(super) fn new(names: &Names) -> Self {
        let labels = [names.target, names.status];
        let handled = Opts::new(names.handled, "Requests that ended, by status.");
        let latency = HistogramOpts::new(names.latency, "Seconds from the start of a request to its status.");
        let in_flight = Opts::new(names.in_flight, "Requests that have not ended.");
        let valid = "names and labels are valid";
        Self {
            handled: IntCounterVec::new(handled, &labels).expect(valid),
            latency: HistogramVec::new(latency.buckets(BUCKETS.to_vec()), &labels).expect(valid),
            in_flight: IntGaugeVec::new(in_flight, &labels[..1]).expect(valid),
        }
    }

    pub(super) fn register(&self, metrics: &Metrics) {
        metrics.register(self.handled.clone());
        metrics.register(self.latency.clone());
        metrics.register(self.in_flight.clone());
    }

    /// Creates the gauge of `target` with the value 0, before its first request.
    #[cfg(feature = "grpc")]
    pub(super) fn create_gauge(&self, target: &str) {
        self.in_flight.with_label_values(&[target]).set(0);
    }

    /// Starts a request with `status` as its status until another is set.
    pub(super) fn start(&self, target: Arc<str>, status: &'static str) -> InFlight {
        let gauge = self.in_flight.with_label_values(&[&*target]);
        gauge.inc();
        InFlight { metrics: self.clone(), target, started: Instant::now(), gauge, status: status.into() }
    }
}

// === impl InFlight ===

impl Drop for InFlight {
    fn drop(&mut self) {
        let labels = [&*self.target, &*self.status];
        self.metrics.handled.with_label_values(&labels).inc();
        self.metrics.latency.with_label_values(&labels).observe(self.started.elapsed().as_secs_f64());
        self.gauge.dec();
    }
}
