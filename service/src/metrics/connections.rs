//! Metrics of the connections of each listener: open, rejected, and closed by the server.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts};

use super::Metrics;

/// The metrics of all listeners.
#[derive(Clone, Debug)]
pub(super) struct ConnectionVectors {
    limit: IntGaugeVec,
    open: IntGaugeVec,
    accepted: IntCounterVec,
    accept_failures: IntCounterVec,
    refused: IntCounterVec,
    closed: IntCounterVec,
}

/// The metrics of one listener.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionMetrics {
    vectors: ConnectionVectors,
    listener: &'static str,
}

/// Counts a connection as open until it is dropped.
pub(crate) struct Open(IntGauge);

// === impl ConnectionVectors ===

impl ConnectionVectors {
    pub(super) fn new() -> Self {
        let valid = "names and labels are valid";
        let gauge = |name, help| IntGaugeVec::new(Opts::new(name, help), &["listener"]).expect(valid);
        let counter =
            |name, help, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels).expect(valid);
        Self {
            limit: gauge("server_connections_limit", "Maximum number of open client connections."),
            open: gauge("server_connections_open", "Client connections that are open."),
            accepted: counter(
                "server_connections_accepted_total",
                "Client connections accepted.",
                &["listener"],
            ),
            accept_failures: counter(
                "server_accept_failures_total",
                "Client connections that could not be accepted, for example without a free file descriptor.",
                &["listener"],
            ),
            refused: counter(
                "server_connections_refused_total",
                "Client connections rejected because the limit on open connections was reached.",
                &["listener"],
            ),
            closed: counter(
                "server_connections_closed_total",
                "Client connections that the server closed because of a limit or an error, by reason.",
                &["listener", "reason"],
            ),
        }
    }

    pub(super) fn register(&self, metrics: &Metrics) {
        metrics.register(self.limit.clone());
        metrics.register(self.open.clone());
        metrics.register(self.accepted.clone());
        metrics.register(self.accept_failures.clone());
        metrics.register(self.refused.clone());
        metrics.register(self.closed.clone());
    }

    pub(super) fn of(&self, listener: &'static str) -> ConnectionMetrics {
        ConnectionMetrics { vectors: self.clone(), listener }
    }
}

// === impl ConnectionMetrics ===

impl ConnectionMetrics {
    /// Sets the limit, and creates the other series with the value 0.
    pub(crate) fn set_limit(&self, limit: usize) {
        let Self { vectors, listener } = self;
        vectors.limit.with_label_values(&[listener]).set(limit.try_into().unwrap_or(i64::MAX));
        vectors.open.with_label_values(&[listener]);
        for counter in [&vectors.accepted, &vectors.accept_failures, &vectors.refused] {
            counter.with_label_values(&[listener]);
        }
    }

    pub(crate) fn opened(&self) -> Open {
        self.vectors.accepted.with_label_values(&[self.listener]).inc();
        let open = self.vectors.open.with_label_values(&[self.listener]);
        open.inc();
        Open(open)
    }

    pub(crate) fn refused(&self) {
        self.vectors.refused.with_label_values(&[self.listener]).inc();
    }

    pub(crate) fn accept_failed(&self) {
        self.vectors.accept_failures.with_label_values(&[self.listener]).inc();
    }

    pub(crate) fn closed(&self, reason: &'static str) {
        self.vectors.closed.with_label_values(&[self.listener, reason]).inc();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
