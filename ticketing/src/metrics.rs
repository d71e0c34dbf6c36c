//! Connections to the database, and the latency of queries.

use std::sync::Arc;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntGaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use crate::store::{Store, Usage};

/// Upper bounds of the latency histogram, in seconds: from a lookup in memory to the statement timeout and more.
const BUCKETS: [f64; 12] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0];

/// The latency of each query.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    all: HistogramVec,
    pub(crate) get: Histogram,
    pub(crate) create: Histogram,
    pub(crate) list: Histogram,
}

/// Reads the state of the pools when a scraper asks.
struct Connections {
    store: Arc<Store>,
    gauges: IntGaugeVec,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn new() -> Self {
        let help = "Seconds from the wait for a connection to the last row of a query.";
        let options = HistogramOpts::new("db_query_duration_seconds", help).buckets(BUCKETS.to_vec());
        let all = HistogramVec::new(options, &["query"]).expect("the names are valid");
        let of = |query: &str| all.with_label_values(&[query]);
        Self { get: of("get"), create: of("create"), list: of("list"), all }
    }

    pub(crate) fn register(&self, metrics: &service::Metrics, store: &Arc<Store>) {
        metrics.register(self.all.clone());
        let options = Opts::new("db_pool_connections", "Connections to the database, by pool and state.");
        let gauges = IntGaugeVec::new(options, &["pool", "state"]).expect("the names are valid");
        metrics.register(Connections { store: Arc::clone(store), gauges });
    }
}

// === impl Connections ===

impl Collector for Connections {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (pool, Usage { in_use, idle }) in self.store.usage() {
            self.gauges.with_label_values(&[pool, "in_use"]).set(in_use);
            self.gauges.with_label_values(&[pool, "idle"]).set(idle);
        }
        self.gauges.collect()
    }
}
