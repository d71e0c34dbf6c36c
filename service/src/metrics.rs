//! What a scraper sees of one running program, in Prometheus' text format.
//!
//! Each [`Metrics`] has a registry of its own, so that many programs live in one process. Labels are looked up
//! once: after the first call of a route, a call touches atomics only.

mod grpc;
mod http;
mod series;

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{Gauge, IntGauge, Opts, Registry, TextEncoder, core::Collector};

use self::series::Vectors;
pub use self::{
    grpc::{GrpcMetricsLayer, MeasuredBody, MeasuredCall, MeasuredGrpc},
    http::{HttpMetricsLayer, MeasuredHttp, MeasuredRequest},
};
use crate::Identity;

/// The metrics of one running program. Clones are the same metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    http: Vectors,
    grpc: Vectors,
}

// === impl Metrics ===

impl Metrics {
    /// Metrics of a program that just started.
    #[must_use]
    pub fn new(identity: &Identity) -> Self {
        let metrics = Self { registry: Registry::new(), http: http::vectors(), grpc: grpc::vectors() };
        metrics.http.register(&metrics);
        metrics.grpc.register(&metrics);
        metrics.register(build_info(identity));
        metrics.register(start_time());
        metrics
    }

    /// Adds a collector: a counter, a gauge, a vector of them, or one of the caller's making.
    ///
    /// # Panics
    ///
    /// When a metric of that name is already there. Programs register once, at start.
    pub fn register(&self, collector: impl Collector + 'static) {
        self.registry.register(Box::new(collector)).expect("each metric is registered once, at start");
    }

    /// Measures what goes through an axum router: `http_requests_total` and `http_request_duration_seconds` by
    /// route and status, `http_requests_in_flight` by route. The route is the matched pattern, never the path.
    #[must_use]
    pub fn http_layer(&self) -> HttpMetricsLayer {
        HttpMetricsLayer::new(self.http.clone())
    }

    /// Measures calls of a gRPC server: `grpc_server_handled_total` and `grpc_server_handling_seconds` by method
    /// and status, `grpc_server_in_flight` by method. `methods` are the paths that have a label of their own, as
    /// `/hello.Hello/SayHello`; all others share one, so that no caller can make labels.
    #[must_use]
    pub fn grpc_layer<M: AsRef<str>>(&self, methods: impl IntoIterator<Item = M>) -> GrpcMetricsLayer {
        GrpcMetricsLayer::new(&self.grpc, methods)
    }

    /// All metrics, in the text format of Prometheus (version 0.0.4).
    ///
    /// # Errors
    ///
    /// When a collector of the program's own making gives what the format cannot say.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// A constant 1 whose labels say what runs.
fn build_info(identity: &Identity) -> IntGauge {
    let options = Opts::new("build_info", "What runs; always 1.")
        .const_label("version", &identity.version)
        .const_label("hostname", &identity.hostname)
        .const_label("package_version", env!("CARGO_PKG_VERSION"));
    let gauge = IntGauge::with_opts(options).expect("the name and labels are valid");
    gauge.set(1);
    gauge
}

fn start_time() -> Gauge {
    let options = Opts::new("process_start_time_seconds", "When the program started, in seconds since 1970.");
    let gauge = Gauge::with_opts(options).expect("the name is valid");
    // A clock before 1970 is no reason not to start.
    gauge.set(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    gauge
}
