//! The connections to the database.

use std::sync::Arc;

use prometheus::{
    IntGaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use crate::store::{Store, Usage};

/// Reads the state of the pools when a scraper asks.
struct Connections {
    store: Arc<Store>,
    gauges: IntGaugeVec,
}

/// Registers the metric of the connections of `store`.
pub(crate) fn register(metrics: &service::Metrics, store: &Arc<Store>) {
    let options = Opts::new("db_pool_connections", "Connections to the database, by pool and state.");
    let gauges = IntGaugeVec::new(options, &["pool", "state"]).expect("the names are valid");
    metrics.register(Connections { store: Arc::clone(store), gauges });
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
