//! Exports the metrics of the gRPC channels to Prometheus, with the label `route`.
//!
//! Names follow OpenTelemetry's rules for Prometheus: dots become underscores, the unit is a suffix, and a counter
//! ends in `_total`.

use std::collections::HashMap;

use balanced_channel::{
    Channel,
    metrics::{Histogram, Kind, Metric, Point, Value},
};
use prometheus::{
    core::{Collector, Desc},
    proto::{self, Bucket, LabelPair, MetricFamily, MetricType},
};

/// The label that identifies the channel: two routes may share a target.
const ROUTE: &str = "route";

/// Collects the metrics of every channel at each scrape.
pub(crate) struct ChannelMetrics {
    /// The channels with the names of their routes.
    channels: Vec<(String, Channel)>,
    descriptions: Vec<Desc>,
}

// === impl ChannelMetrics ===

impl ChannelMetrics {
    /// Creates a collector for channels with the names of their routes.
    pub(crate) fn new(channels: Vec<(String, Channel)>) -> Self {
        let mut this = Self { channels, descriptions: Vec::new() };
        let describe = |family: &MetricFamily| {
            let (name, help) = (family.name().to_owned(), family.help().to_owned());
            // Labels differ between series; the registry compares only descriptions.
            Desc::new(name, help, Vec::new(), HashMap::new()).expect("the names are valid")
        };
        this.descriptions = this.families().iter().map(describe).collect();
        this
    }

    /// Returns one family per instrument, with the series of all channels.
    fn families(&self) -> Vec<MetricFamily> {
        let mut families: Vec<MetricFamily> = Vec::new();
        for (route, channel) in &self.channels {
            for metric in channel.metrics() {
                let name = prometheus_name(&metric);
                let at = families.iter().position(|family| family.name() == name).unwrap_or_else(|| {
                    families.push(family(&metric, name));
                    families.len() - 1
                });
                let series = metric.points.iter().map(|point| series(route, metric.kind, point));
                families[at].mut_metric().extend(series);
            }
        }
        families
    }
}

impl Collector for ChannelMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.families()
    }
}

/// Returns the name of an instrument in Prometheus.
fn prometheus_name(metric: &Metric) -> String {
    let unit = match metric.unit {
        "s" => "_seconds",
        "By" => "_bytes",
        // An annotation in braces, such as {call}, is not a unit.
        _ => "",
    };
    let total = if metric.kind == Kind::Counter { "_total" } else { "" };
    format!("{}{unit}{total}", underscored(metric.name))
}

fn underscored(name: &str) -> String {
    name.replace('.', "_")
}

fn family(metric: &Metric, name: String) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name);
    family.set_help(metric.description.to_owned());
    family.set_field_type(match metric.kind {
        Kind::Histogram => MetricType::HISTOGRAM,
        Kind::UpDownCounter => MetricType::GAUGE,
        _ => MetricType::COUNTER,
    });
    family
}

fn series(route: &str, kind: Kind, point: &Point) -> proto::Metric {
    let label = |name: &str, value: &str| {
        let mut pair = LabelPair::default();
        pair.set_name(underscored(name));
        pair.set_value(value.to_owned());
        pair
    };
    let labels = point.labels.iter().map(|(name, value)| label(name, value));
    let mut series = proto::Metric::from_label([label(ROUTE, route)].into_iter().chain(labels).collect());
    match &point.value {
        Value::Count(count) if kind == Kind::UpDownCounter => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(*count as f64);
            series.set_gauge(gauge);
        }
        Value::Count(count) => {
            let mut counter = proto::Counter::default();
            counter.set_value(*count as f64);
            series.set_counter(counter);
        }
        Value::Histogram(histogram) => series.set_histogram(cumulative(histogram)),
        // A kind of value that a later version of the channel adds.
        _ => {}
    }
    series
}

/// Converts to Prometheus' form, where each bucket includes those below it.
fn cumulative(histogram: &Histogram) -> proto::Histogram {
    let mut below = 0;
    let buckets = histogram.bounds.iter().zip(&histogram.counts).map(|(bound, count)| {
        below += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(below);
        bucket
    });
    let mut converted = proto::Histogram::default();
    converted.set_bucket(buckets.collect());
    converted.set_sample_count(histogram.count());
    converted.set_sample_sum(histogram.sum);
    converted
}
