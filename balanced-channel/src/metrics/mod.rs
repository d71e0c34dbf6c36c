//! The metrics of a channel, under gRPC's names, for any exporter: [`Channel::metrics`](crate::Channel::metrics)
//! returns them as plain values.
//!
//! | instrument | document |
//! | --- | --- |
//! | `grpc.client.attempt.*`, `grpc.client.call.duration` | [gRFC A66] |
//! | `grpc.client.call.retries`, `transparent_retries`, `hedges`, `retry_delay` | [gRFC A96] |
//! | `grpc.subchannel.*` | [gRFC A94] |
//! | `grpc.lb.wrr.*`, `grpc.lb.pick_first.*` | [gRFC A78] |
//! | `grpc.lb.outlier_detection.*` | [gRFC A91] |
//! | `balanced_channel.endpoint.*`, by name, address and zone | none |
//!
//! The metrics in the first two rows are recorded if [`Builder::call_metrics`](crate::Builder::call_metrics) is set.
//! The metrics of a policy exist if the channel has that policy. Optional labels that need xDS are omitted.
//!
//! [gRFC A66]: https://github.com/grpc/proposal/blob/master/A66-otel-stats.md
//! [gRFC A78]: https://github.com/grpc/proposal/blob/master/A78-grpc-metrics-wrr-pf-xds.md
//! [gRFC A91]: https://github.com/grpc/proposal/blob/master/A91-outlier-detection-metrics.md
//! [gRFC A94]: https://github.com/grpc/proposal/blob/master/A94-subchannel-otel-metrics.md
//! [gRFC A96]: https://github.com/grpc/proposal/blob/master/A96-retry-otel-stats.md

mod calls;
mod connections;
mod distribution;
mod ejections;
mod message_size;
mod metric;
mod recording;
mod status_code;
mod weights;

pub(crate) use calls::CallMetrics;
pub(crate) use connections::{ConnectionMetrics, Disconnect};
pub(crate) use ejections::{DetectionMethod, EjectionMetrics, Unenforced};
pub(crate) use message_size::MessageSize;
pub use metric::{Histogram, Kind, Metric, Point, Value};
pub(crate) use recording::{HedgeRecording, Recording, ResentRecording};
pub use status_code::status_name;
pub(crate) use weights::WeightMetrics;

use std::sync::Arc;

/// The counters of a channel. Calls only update atomics; a reader adds them up.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// The target with its scheme: the label `grpc.target`.
    target: String,
    /// The name of the policy that picks.
    policy: &'static str,
    /// The metrics of calls by method and status, if enabled.
    pub(crate) calls: Option<CallMetrics>,
    pub(crate) connections: Arc<ConnectionMetrics>,
    pub(crate) weights: Arc<WeightMetrics>,
    pub(crate) ejections: Arc<EjectionMetrics>,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn new(target: String, policy: &'static str, calls: bool) -> Self {
        Self {
            target,
            policy,
            calls: calls.then(CallMetrics::default),
            connections: Arc::default(),
            weights: Arc::default(),
            ejections: Arc::default(),
        }
    }

    /// Returns all metrics and `others`, which get the same target label.
    pub(crate) fn read(&self, others: impl IntoIterator<Item = Metric>) -> Vec<Metric> {
        let mut metrics = self.calls.as_ref().map(CallMetrics::read).unwrap_or_default();
        metrics.extend(self.connections.read());
        match self.policy {
            "weighted_round_robin" => metrics.extend(self.weights.read()),
            "pick_first" => metrics.extend(self.connections.read_as_pick_first()),
            _ => {}
        }
        metrics.extend(self.ejections.read());
        metrics.extend(others);
        for point in metrics.iter_mut().flat_map(|metric| &mut metric.points) {
            point.labels.insert(0, ("grpc.target", self.target.clone()));
        }
        metrics
    }
}
