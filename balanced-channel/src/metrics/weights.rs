//! Metrics of `weighted_round_robin`, recorded each time the policy computes its weights (gRFC A78).

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{Histogram, Metric};
use crate::policy::Weight;

/// The default bounds of OpenTelemetry. A78 leaves the choice to the exporter.
const BOUNDS: [f64; 15] =
    [0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0, 10000.0];

/// Counters that the balancer's task updates; calls do not use them.
#[derive(Debug)]
pub(crate) struct WeightMetrics {
    fallbacks: AtomicU64,
    not_yet_usable: AtomicU64,
    stale: AtomicU64,
    weights: Mutex<Histogram>,
}

// === impl WeightMetrics ===

impl Default for WeightMetrics {
    fn default() -> Self {
        let none = Histogram { bounds: &BOUNDS, counts: vec![0; BOUNDS.len() + 1], sum: 0.0 };
        Self {
            fallbacks: AtomicU64::new(0),
            not_yet_usable: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            weights: Mutex::new(none),
        }
    }
}

impl WeightMetrics {
    /// Records a computation of weights. `fallback` is true if too few endpoints had a weight.
    pub(crate) fn updated(&self, weights: &[Weight], fallback: bool) {
        self.fallbacks.fetch_add(fallback.into(), Relaxed);
        let mut histogram = self.weights.lock().unwrap_or_else(PoisonError::into_inner);
        for weight in weights {
            let weight = match weight {
                Weight::Known(weight) => *weight,
                Weight::NotYet => {
                    self.not_yet_usable.fetch_add(1, Relaxed);
                    0.0
                }
                Weight::Stale => {
                    self.stale.fetch_add(1, Relaxed);
                    0.0
                }
            };
            let at = BOUNDS.partition_point(|bound| *bound < weight);
            histogram.counts[at] += 1;
            histogram.sum += weight;
        }
    }

    pub(crate) fn read(&self) -> [Metric; 4] {
        let histogram = self.weights.lock().unwrap_or_else(PoisonError::into_inner).clone();
        [
            Metric::counter(
                "grpc.lb.wrr.rr_fallback",
                "{update}",
                "Computations of weights that found too few, so that calls went round robin.",
            )
            .with(self.fallbacks.load(Relaxed)),
            Metric::counter(
                "grpc.lb.wrr.endpoint_weight_not_yet_usable",
                "{endpoint}",
                "Endpoints, at each computation, that had not reported for long enough.",
            )
            .with(self.not_yet_usable.load(Relaxed)),
            Metric::counter(
                "grpc.lb.wrr.endpoint_weight_stale",
                "{endpoint}",
                "Endpoints, at each computation, whose last report was too old.",
            )
            .with(self.stale.load(Relaxed)),
            Metric::histogram(
                "grpc.lb.wrr.endpoint_weights",
                "{weight}",
                "The weight of each endpoint at each computation; 0 where it had none.",
            )
            .with(histogram),
        ]
    }
}
