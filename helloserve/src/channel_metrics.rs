//! Exports the metrics of the gRPC channels to Prometheus, with the label `route`.
//!
//! Names follow OpenTelemetry's rules for Prometheus: dots become underscores, the unit is a suffix, and a counter
//! ends in `_total`. The state of the resolver and the number of retries, which the channel has no instruments for, are
//! exported as `helloserve_resolver_*` and `helloserve_retries_total`.

use std::collections::HashMap;

use balanced_channel::{
    Channel, ChannelSnapshot,
    metrics::{Histogram, Kind, Metric, Point, Value},
};
use prometheus::{
    core::{Collector, Desc},
    proto::{self, Bucket, LabelPair, MetricFamily, MetricType},
};

/// The label that identifies the channel. The target does not, because two routes may share it.
const ROUTE: &str = "route";

/// A collector that reads the metrics of every channel at each scrape.
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
            // Without labels, which differ between series; the registry only checks that names are unique.
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
                let index = families.iter().position(|family| family.name() == name).unwrap_or_else(|| {
                    families.push(family(&metric, &name));
                    families.len() - 1
                });
                let series = metric.points.iter().map(|point| series(route, metric.kind, point));
                families[index].mut_metric().extend(series);
            }
        }
        families.extend(self.snapshot_families());
        families
    }

    /// Returns the families about resolvers and retries. A gauge without a value has no series, e.g. the age of the last answer
    /// before the first answer.
    fn snapshot_families(&self) -> Vec<MetricFamily> {
        let mut families = [
            new_family(
                "helloserve_resolver_endpoints",
                "Endpoints in the last successful answer of the route's resolver.",
                MetricType::GAUGE,
            ),
            new_family(
                "helloserve_resolver_age_seconds",
                "Seconds since the last successful answer of the route's resolver.",
                MetricType::GAUGE,
            ),
            new_family(
                "helloserve_resolver_failing",
                "1 if the last lookup of the route's resolver failed, otherwise 0.",
                MetricType::GAUGE,
            ),
            new_family(
                "helloserve_retries_total",
                "Further attempts of gRPC calls: because no server had processed the call (transparent), by a retry policy (policy) or by a hedging policy (hedge).",
                MetricType::COUNTER,
            ),
        ];
        for (route, channel) in &self.channels {
            let ChannelSnapshot { resolver, retries, .. } = channel.snapshot();
            let gauges = [
                resolver.endpoints.map(|endpoints| endpoints as f64),
                resolver.age,
                Some(f64::from(u8::from(resolver.error.is_some()))),
            ];
            for (family, value) in families.iter_mut().zip(gauges) {
                family.mut_metric().extend(value.map(|value| gauge([label(ROUTE, route)], value)));
            }
            let counts = [
                ("transparent", retries.transparent),
                ("policy", retries.by_policy),
                ("hedge", retries.hedges),
            ];
            for (reason, count) in counts {
                let labels = [label("reason", reason), label(ROUTE, route)];
                families[3].mut_metric().push(counter(labels, count as f64));
            }
        }
        families.into_iter().filter(|family| !family.get_metric().is_empty()).collect()
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

fn family(metric: &Metric, name: &str) -> MetricFamily {
    let kind = match metric.kind {
        Kind::Histogram => MetricType::HISTOGRAM,
        Kind::UpDownCounter => MetricType::GAUGE,
        _ => MetricType::COUNTER,
    };
    new_family(name, metric.description, kind)
}

fn new_family(name: &str, help: &str, kind: MetricType) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(underscored(name));
    pair.set_value(value.to_owned());
    pair
}

fn gauge(labels: impl IntoIterator<Item = LabelPair>, value: f64) -> proto::Metric {
    let mut series = proto::Metric::from_label(labels.into_iter().collect());
    let mut gauge = proto::Gauge::default();
    gauge.set_value(value);
    series.set_gauge(gauge);
    series
}

fn counter(labels: impl IntoIterator<Item = LabelPair>, value: f64) -> proto::Metric {
    let mut series = proto::Metric::from_label(labels.into_iter().collect());
    let mut counter = proto::Counter::default();
    counter.set_value(value);
    series.set_counter(counter);
    series
}

fn series(route: &str, kind: Kind, point: &Point) -> proto::Metric {
    let labels = point.labels.iter().map(|(name, value)| label(name, value));
    let labels: Vec<_> = [label(ROUTE, route)].into_iter().chain(labels).collect();
    match &point.value {
        Value::Count(count) if kind == Kind::UpDownCounter => gauge(labels, *count as f64),
        Value::Count(count) => counter(labels, *count as f64),
        Value::Histogram(histogram) => {
            let mut series = proto::Metric::from_label(labels);
            series.set_histogram(cumulative(histogram));
            series
        }
        // The enum is non-exhaustive: a later version of the channel may add a kind of value.
        _ => proto::Metric::from_label(labels),
    }
}

/// Converts a histogram to Prometheus' form, in which each bucket includes the lower ones.
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
