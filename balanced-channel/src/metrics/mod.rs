//! The metrics of a channel, under gRPC's names, for any exporter: [`Channel::metrics`](crate::Channel::metrics)
//! gives all of it at one moment as plain values.
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
//! The metrics of the first two lines are measured if
//! [`Builder::call_metrics`](crate::Builder::call_metrics) is set. The metrics of a policy exist if
//! the channel has that policy. Optional labels that only xDS can fill are left out.
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

/// All that a channel counts. Whoever counts touches atomics only; whoever reads adds up.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// The target as gRPC spells it; the label `grpc.target`.
    target: String,
    /// The name of the policy that picks.
    policy: &'static str,
    /// By method and status, if they are to be measured.
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

    /// Everything, at this moment, and what else there is of the same target.
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
