//! The latency of queries.

use prometheus::{Histogram, HistogramOpts, HistogramVec};

/// Upper bounds of the histogram, in seconds: from a lookup in memory to the statement timeout and more.
const BUCKETS: [f64; 12] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0];

/// The latency of each query.
#[derive(Debug)]
pub(crate) struct QueryLatency {
    pub(super) get: Histogram,
    pub(super) create: Histogram,
    pub(super) list: Histogram,
}

// === impl QueryLatency ===

impl QueryLatency {
    /// Creates the histograms and registers them.
    pub(crate) fn new(metrics: &service::Metrics) -> Self {
        let help = "Seconds from the wait for a connection to the last row of a query.";
        let options = HistogramOpts::new("db_query_duration_seconds", help).buckets(BUCKETS.to_vec());
        let all = HistogramVec::new(options, &["query"]).expect("the names are valid");
        metrics.register(all.clone());
        let of = |query: &str| all.with_label_values(&[query]);
        Self { get: of("get"), create: of("create"), list: of("list") }
    }
}
