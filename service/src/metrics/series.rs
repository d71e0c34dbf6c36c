//! Counts, latencies and calls in flight of one subject, a route or a method, with labels resolved once.

use std::{
    array,
    sync::{Arc, OnceLock},
};

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
};
use tokio::time::Instant;

use super::Metrics;

/// Upper bounds of the latency histograms, in seconds: from a call on one machine to a long deadline.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Statuses of one subject that are found without a lock; further ones are looked up by their labels.
const SLOTS: usize = 8;

/// The metrics of one protocol, by subject and status.
#[derive(Clone, Debug)]
pub(super) struct Vectors {
    handled: IntCounterVec,
    latency: HistogramVec,
    in_flight: IntGaugeVec,
    /// How a status reads in a label.
    status_label: fn(u16) -> String,
}

/// How the metrics of one protocol are called.
pub(super) struct Names {
    pub(super) handled: &'static str,
    pub(super) latency: &'static str,
    pub(super) in_flight: &'static str,
    pub(super) subject_label: &'static str,
    pub(super) status_label: &'static str,
}

/// The metrics of one subject.
#[derive(Debug)]
pub(super) struct Series {
    vectors: Vectors,
    subject: String,
    in_flight: IntGauge,
    slots: [OnceLock<(u16, Handles)>; SLOTS],
}

#[derive(Clone, Debug)]
struct Handles {
    handled: IntCounter,
    latency: Histogram,
}

/// One call in flight. Dropped without a status, it counts as the one it was started with.
#[derive(Debug)]
pub(super) struct Call {
    series: Arc<Series>,
    started: Instant,
    status: u16,
}

// === impl Vectors ===

impl Vectors {
    pub(super) fn new(names: &Names, status_label: fn(u16) -> String) -> Self {
        let labels = [names.subject_label, names.status_label];
        let handled = Opts::new(names.handled, "Calls that ended, by their status.");
        let latency = HistogramOpts::new(names.latency, "Seconds from the start of a call to its status.");
        let in_flight = Opts::new(names.in_flight, "Calls that have not ended.");
        let valid = "names and labels are valid";
        Self {
            handled: IntCounterVec::new(handled, &labels).expect(valid),
            latency: HistogramVec::new(latency.buckets(BUCKETS.to_vec()), &labels).expect(valid),
            in_flight: IntGaugeVec::new(in_flight, &labels[..1]).expect(valid),
            status_label,
        }
    }

    pub(super) fn register(&self, metrics: &Metrics) {
        metrics.register(self.handled.clone());
        metrics.register(self.latency.clone());
        metrics.register(self.in_flight.clone());
    }

    pub(super) fn series(&self, subject: &str) -> Arc<Series> {
        Arc::new(Series {
            vectors: self.clone(),
            subject: subject.to_owned(),
            in_flight: self.in_flight.with_label_values(&[subject]),
            slots: array::from_fn(|_| OnceLock::new()),
        })
    }
}

// === impl Series ===

impl Series {
    pub(super) fn subject(&self) -> &str {
        &self.subject
    }

    /// Starts a call, which has `status` unless it is given another.
    pub(super) fn start(self: &Arc<Self>, status: u16) -> Call {
        self.in_flight.inc();
        Call { series: Arc::clone(self), started: Instant::now(), status }
    }

    fn record(&self, status: u16, seconds: f64) {
        for slot in &self.slots {
            // The first empty slot becomes this status's own; a race for it is settled by the comparison.
            let (of, handles) = slot.get_or_init(|| (status, self.resolve(status)));
            if *of == status {
                return handles.record(seconds);
            }
        }
        self.resolve(status).record(seconds);
    }

    fn resolve(&self, status: u16) -> Handles {
        let labels = [self.subject.as_str(), &(self.vectors.status_label)(status)];
        Handles {
            handled: self.vectors.handled.with_label_values(&labels),
            latency: self.vectors.latency.with_label_values(&labels),
        }
    }
}

impl Handles {
    fn record(&self, seconds: f64) {
        self.handled.inc();
        self.latency.observe(seconds);
    }
}

// === impl Call ===

impl Call {
    pub(super) fn set_status(&mut self, status: u16) {
        self.status = status;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.series.record(self.status, self.started.elapsed().as_secs_f64());
        self.series.in_flight.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> Vectors {
        let names = Names {
            handled: "handled_total",
            latency: "seconds",
            in_flight: "in_flight",
            subject_label: "route",
            status_label: "status",
        };
        Vectors::new(&names, |status| format!("s{status}"))
    }

    #[test]
    fn counts_more_statuses_than_it_has_slots_for() {
        let vectors = vectors();
        let series = vectors.series("/a");
        let statuses = 0..u16::try_from(SLOTS * 2).unwrap();
        for _ in 0..3 {
            for status in statuses.clone() {
                series.start(999).set_status(status);
            }
        }
        for status in statuses {
            let count = vectors.handled.with_label_values(&["/a", &format!("s{status}")]).get();
            assert_eq!(count, 3, "{status}");
        }
        assert_eq!(series.in_flight.get(), 0);
    }

    #[test]
    fn a_call_is_in_flight_until_it_is_dropped_and_then_counts_as_it_was_started() {
        let vectors = vectors();
        let series = vectors.series("/a");
        let call = series.start(499);
        assert_eq!(series.in_flight.get(), 1);
        drop(call);
        assert_eq!(series.in_flight.get(), 0);
        assert_eq!(vectors.handled.with_label_values(&["/a", "s499"]).get(), 1);
        assert_eq!(vectors.latency.with_label_values(&["/a", "s499"]).get_sample_count(), 1);
    }
}
