//! Calls and their attempts, by method and status (gRFC A66, A96).

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::Extensions;
use tonic::{Code, GrpcMethod};

use super::{
    Metric, Recording,
    distribution::{Distribution, LATENCY, RETRIES, SIZE, TRANSPARENT_RETRIES},
};
use crate::status_name;

/// The maximum number of methods with a label of their own. The names in generated clients are few and fixed; the limit
/// is for programs that compute the names of methods.
const MAX_METHODS: usize = 128;

/// The label of calls without a method name, and of methods beyond [`MAX_METHODS`] (gRFC A66).
const OTHER: &str = "other";

/// The number of gRPC status codes.
const CODES: usize = 17;

/// Calls by method. A linear search finds the method, without a lock or a hash, as a client has few methods.
#[derive(Debug)]
pub(crate) struct CallMetrics {
    methods: Box<[OnceLock<Arc<Method>>]>,
    other: Arc<Method>,
}

/// The calls of one method.
#[derive(Debug)]
pub(super) struct Method {
    service: String,
    name: String,
    started: AtomicU64,
    /// The ended calls by status. Each entry is created when the first call ends with that status.
    ended: [OnceLock<Box<EndedCalls>>; CODES],
    /// The calls that were retried or hedged. Created by the first of them.
    resent: OnceLock<Box<ResentCalls>>,
}

/// The calls, and the attempts, that ended with one status.
#[derive(Debug, Default)]
struct EndedCalls {
    /// Calls with a single attempt, as nearly all are. Call and attempt have the same duration, so one entry serves for
    /// both.
    single: Distribution<41>,
    /// The attempts of all other calls.
    attempts: Distribution<41>,
    calls: Distribution<41>,
    sent: Distribution<14>,
    received: Distribution<14>,
}

/// The calls that were retried or hedged.
#[derive(Debug, Default)]
struct ResentCalls {
    retries: Distribution<5>,
    transparent: Distribution<6>,
    hedges: Distribution<5>,
    delay: Distribution<41>,
}

/// The size of the messages of one attempt, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MessageBytes {
    pub(super) sent: u64,
    pub(super) received: u64,
}

// === impl CallMetrics ===

impl Default for CallMetrics {
    fn default() -> Self {
        let methods = (0..MAX_METHODS).map(|_| OnceLock::new()).collect();
        Self { methods, other: Arc::new(Method::new("", OTHER)) }
    }
}

impl CallMetrics {
    /// Starts the recording of a call. The request's extensions have the name of the method.
    pub(crate) fn start(&self, extensions: &Extensions) -> Box<Recording> {
        Box::new(Recording::new(self.find(extensions).clone()))
    }

    fn find(&self, extensions: &Extensions) -> &Arc<Method> {
        let Some(wanted) = extensions.get::<GrpcMethod<'static>>() else { return &self.other };
        let (service, name) = (wanted.service(), wanted.method());
        let is = |known: &&Arc<Method>| known.name == name && known.service == service;
        // If another call fills the empty slot first, the comparison below sees its name.
        let slots = self.methods.iter();
        let known = slots.map(|slot| slot.get_or_init(|| Arc::new(Method::new(service, name)))).find(is);
        known.unwrap_or(&self.other)
    }

    pub(super) fn read(&self) -> Vec<Metric> {
        let mut started = Metric::counter(
            "grpc.client.attempt.started",
            "{attempt}",
            "Attempts started, those that have not ended included.",
        );
        let mut attempts = Metric::histogram(
            "grpc.client.attempt.duration",
            "s",
            "Time of an attempt, from before a subchannel is picked to its status.",
        );
        let mut sent = Metric::histogram(
            "grpc.client.attempt.sent_total_compressed_message_size",
            "By",
            "Bytes of request messages sent in an attempt, as compressed, without framing.",
        );
        let mut received = Metric::histogram(
            "grpc.client.attempt.rcvd_total_compressed_message_size",
            "By",
            "Bytes of response messages received in an attempt, as compressed, without framing.",
        );
        let mut calls = Metric::histogram(
            "grpc.client.call.duration",
            "s",
            "Time of a call, from its start to the status that its caller gets.",
        );
        let mut retries = Metric::histogram(
            "grpc.client.call.retries",
            "{retry}",
            "Retries by policy of a call, of calls that had any.",
        );
        let mut transparent = Metric::histogram(
            "grpc.client.call.transparent_retries",
            "{transparent_retry}",
            "Retries of a call because no server had seen it, of calls that had any.",
        );
        let mut hedges = Metric::histogram(
            "grpc.client.call.hedges",
            "{hedge}",
            "Hedges of a call, of calls that had any.",
        );
        let mut delay = Metric::histogram(
            "grpc.client.call.retry_delay",
            "s",
            "Time in which a call had no attempt under way, of calls that were sent again.",
        );
        let methods = self.methods.iter().filter_map(OnceLock::get).chain([&self.other]);
        for method in methods {
            let labels = vec![("grpc.method", method.label())];
            let count = method.started.load(Relaxed);
            if count > 0 {
                started.push(labels.clone(), count);
            }
            for (code, ended) in method.ended.iter().enumerate() {
                let Some(ended) = ended.get() else { continue };
                let status = ("grpc.status", status_name(Code::from(code as i32)).to_owned());
                let labels = [labels.clone(), vec![status]].concat();
                let single = ended.single.read(&LATENCY);
                attempts.push_some(labels.clone(), ended.attempts.read(&LATENCY).plus(&single));
                calls.push_some(labels.clone(), ended.calls.read(&LATENCY).plus(&single));
                sent.push_some(labels.clone(), ended.sent.read(&SIZE));
                received.push_some(labels, ended.received.read(&SIZE));
            }
            if let Some(resent) = method.resent.get() {
                retries.push_some(labels.clone(), resent.retries.read(&RETRIES));
                transparent.push_some(labels.clone(), resent.transparent.read(&TRANSPARENT_RETRIES));
                hedges.push_some(labels.clone(), resent.hedges.read(&RETRIES));
                delay.push_some(labels, resent.delay.read(&LATENCY));
            }
        }
        vec![started, attempts, sent, received, calls, retries, transparent, hedges, delay]
    }
}

// === impl Method ===

impl Method {
    fn new(service: &str, name: &str) -> Self {
        Self {
            service: service.to_owned(),
            name: name.to_owned(),
            started: AtomicU64::new(0),
            ended: [const { OnceLock::new() }; CODES],
            resent: OnceLock::new(),
        }
    }

    fn label(&self) -> String {
        if self.service.is_empty() { self.name.clone() } else { format!("{}/{}", self.service, self.name) }
    }

    pub(super) fn attempt_started(&self) {
        self.started.fetch_add(1, Relaxed);
    }

    /// Records the end of an attempt.
    pub(super) fn attempt_ended(&self, code: Code, took: Duration, traffic: MessageBytes) {
        let ended = self.ended(code);
        ended.attempts.record(&LATENCY, nanoseconds(took));
        ended.moved(traffic);
    }

    /// Records the end of a call with more than one attempt.
    pub(super) fn call_ended(&self, code: Code, took: Duration) {
        self.ended(code).calls.record(&LATENCY, nanoseconds(took));
    }

    /// Records the end of a call together with its only attempt.
    pub(super) fn single_ended(&self, code: Code, took: Duration, traffic: MessageBytes) {
        let ended = self.ended(code);
        ended.single.record(&LATENCY, nanoseconds(took));
        ended.moved(traffic);
    }

    /// Records the further attempts of a call that has ended.
    pub(super) fn resent(&self, retries: u32, transparent: u32, hedges: u32, delay: Duration) {
        let resent = self.resent.get_or_init(Box::default);
        if retries > 0 {
            resent.retries.record(&RETRIES, retries.into());
        }
        if transparent > 0 {
            resent.transparent.record(&TRANSPARENT_RETRIES, transparent.into());
        }
        if hedges > 0 {
            resent.hedges.record(&RETRIES, hedges.into());
        }
        resent.delay.record(&LATENCY, nanoseconds(delay));
    }

    fn ended(&self, code: Code) -> &EndedCalls {
        self.ended[code as usize].get_or_init(Box::default)
    }
}

impl EndedCalls {
    fn moved(&self, traffic: MessageBytes) {
        self.sent.record(&SIZE, traffic.sent);
        self.received.record(&SIZE, traffic.received);
    }
}

fn nanoseconds(time: Duration) -> u64 {
    // A `u64` holds 584 years in nanoseconds.
    time.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extensions(service: &'static str, method: &'static str) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(GrpcMethod::new(service, method));
        extensions
    }

    #[test]
    fn methods_above_the_limit_share_one_label() {
        let calls = CallMetrics::default();
        let label = |extensions: &Extensions| calls.find(extensions).label();
        assert_eq!(label(&Extensions::new()), "other");
        for (service, method) in [("a.A", "Get"), ("a.B", "Get"), ("a.A", "Put")] {
            let (one, same) = (extensions(service, method), extensions(service, method));
            assert_eq!(label(&one), format!("{service}/{method}"));
            assert!(Arc::ptr_eq(calls.find(&one), calls.find(&same)));
        }
        for number in 0..2 * MAX_METHODS {
            calls.find(&extensions("many", number.to_string().leak()));
        }
        assert_eq!(label(&extensions("one.more", "Get")), "other");
        assert_eq!(label(&extensions("a.A", "Put")), "a.A/Put");
    }

    #[test]
    fn every_code_has_a_counter_and_a_name() {
        let calls = CallMetrics::default();
        for code in 0..CODES as i32 {
            calls.other.single_ended(Code::from(code), Duration::ZERO, MessageBytes::default());
        }
        let metrics = calls.read();
        let ended = metrics.iter().find(|metric| metric.name == "grpc.client.call.duration").unwrap();
        let names: std::collections::BTreeSet<_> =
            ended.points.iter().map(|point| &point.labels[1].1).collect();
        assert_eq!(names.len(), CODES);
    }
}
