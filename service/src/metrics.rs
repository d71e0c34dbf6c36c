//! The metrics of a running program, in Prometheus' text format.
//!
//! Each [`Metrics`] has its own registry, so that several programs can run in one process.

mod connections;
#[cfg(feature = "grpc")]
mod grpc;
mod http;
mod requests;

use prometheus::{IntCounter, IntGauge, Opts, Registry, TextEncoder, core::Collector};

use self::connections::ConnectionVectors;
#[cfg(feature = "grpc")]
pub(crate) use self::grpc::{GrpcMetrics, measure as measure_grpc};
pub(crate) use self::{
    connections::ConnectionMetrics, http::measure as measure_http, requests::RequestMetrics,
};
use crate::Identity;

/// The metrics of a running program. Clones share their state.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    http: RequestMetrics,
    #[cfg(feature = "grpc")]
    grpc: RequestMetrics,
    connections: ConnectionVectors,
    panics: IntCounter,
}

// === impl Metrics ===

impl Metrics {
    /// Creates the metrics that every program has.
    #[must_use]
    pub fn new(identity: &Identity) -> Self {
        let panics =
            IntCounter::new("panics_total", "Requests whose handler panicked.").expect("the name is valid");
        let metrics = Self {
            registry: Registry::new(),
            http: RequestMetrics::new(&http::NAMES),
            #[cfg(feature = "grpc")]
            grpc: RequestMetrics::new(&grpc::NAMES),
            connections: ConnectionVectors::new(),
            panics,
        };
        metrics.http.register(&metrics);
        #[cfg(feature = "grpc")]
        metrics.grpc.register(&metrics);
        metrics.connections.register(&metrics);
        metrics.register(metrics.panics.clone());
        metrics.register(build_info(identity));
        #[cfg(target_os = "linux")]
        metrics.register(prometheus::process_collector::ProcessCollector::for_self());
        metrics
    }

    /// Adds a collector, such as a counter or a gauge.
    ///
    /// # Panics
    ///
    /// If a metric with the same name is registered already. Programs register theirs once, at start.
    pub fn register(&self, collector: impl Collector + 'static) {
        self.registry.register(Box::new(collector)).expect("each metric is registered once, at start");
    }

    /// Returns all metrics, in the text format of Prometheus (version 0.0.4).
    ///
    /// # Errors
    ///
    /// If a custom collector returns metrics that the format cannot express.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Returns `http_requests_total` and `http_request_duration_seconds` by path and status, and `http_requests_in_flight`
    /// by path.
    pub(crate) fn http(&self) -> RequestMetrics {
        self.http.clone()
    }

    /// Returns `grpc_server_handled_total` and `grpc_server_handling_seconds` by method and status, and
    /// `grpc_server_in_flight` by method. Each path in `methods` has a label; all other paths share one, so that clients
    /// cannot create labels.
    #[cfg(feature = "grpc")]
    pub(crate) fn grpc(&self, methods: impl IntoIterator<Item = String>) -> GrpcMetrics {
        GrpcMetrics::new(self.grpc.clone(), methods)
    }

    /// Returns the connection metrics of one listener.
    pub(crate) fn connections(&self, listener: &'static str) -> ConnectionMetrics {
        self.connections.of(listener)
    }

    /// Returns `panics_total`.
    pub(crate) fn panics(&self) -> IntCounter {
        self.panics.clone()
    }
}

/// Returns the gauge `build_info`, a constant 1 with labels for the version and the hostname.
fn build_info(identity: &Identity) -> IntGauge {
    let options = Opts::new("build_info", "The running program; always 1.")
        .const_label("version", &identity.version)
        .const_label("hostname", &identity.hostname)
        .const_label("package_version", env!("CARGO_PKG_VERSION"));
    let gauge = IntGauge::with_opts(options).expect("the name and labels are valid");
    gauge.set(1);
    gauge
}
