//! The figures of a result: latencies, pods, errors and balance.

use std::time::Duration;

use serde::Serialize;

use crate::{
    balance::{Balance, PodChange, Spread},
    tally::{Latency, PodTally},
};

/// A distribution of latencies, in seconds; all zero if there were no calls.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Percentiles {
    /// Minimum.
    pub min: f64,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 75th percentile.
    pub p75: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    #[serde(rename = "p99.9")]
    pub p999: f64,
    /// Maximum.
    pub max: f64,
}

/// The calls of one pod.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Pod {
    /// Name of the pod in its answers.
    pub name: String,
    /// Calls that the pod answered successfully.
    pub calls: u64,
    /// Share of the pod in all successful calls whose pod is known, from 0 to 1.
    pub share: f64,
    /// Calls that the pod answered with an error.
    pub errors: u64,
    /// Median latency of the successful calls.
    pub p50: f64,
    /// 99th percentile of that latency.
    pub p99: f64,
    /// Time of the pod's first answer, in seconds from the start of the load.
    pub first_at: f64,
    /// Time of the pod's last answer, in seconds from the start of the load.
    pub last_at: f64,
}

/// Failed calls with the same cause.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Errors {
    /// The cause, as a sentence.
    pub cause: String,
    /// Number of failed calls.
    pub count: u64,
}

/// The evenness of the calls over the pods.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Figures {
    /// The judgement: `unknown` (no answer names its pod), `too-few` (calls to judge), `unsettled` (the pods changed too
    /// often to judge), `one-pod`, `even`, `random` (as even as random choice) or `uneven`.
    pub spread: &'static str,
    /// Number of pods that answered.
    pub pods: usize,
    /// Number of calls that these figures are computed from: those of known pods while the set of pods did not change.
    pub calls: u64,
    /// Number of calls needed for a judgement, if there were too few; otherwise null.
    pub calls_needed: Option<u64>,
    /// Changes of the set of pods, in chronological order.
    pub changes: Vec<PodChange>,
    /// Total time in which the set of pods did not change; null if it never changed.
    pub stable: Option<f64>,
    /// Calls of the busiest pod divided by those of the least loaded pod; null if a pod answered only with errors, or if a
    /// connected endpoint has no stream.
    pub skew: Option<f64>,
    /// Coefficient of variation of the calls per pod.
    pub variation: f64,
    /// P-value of the chi-squared test for equal shares; null with fewer than two pods.
    pub p_value: Option<f64>,
}

// === impl Pod ===

impl Pod {
    pub(super) fn new(name: &str, pod: &PodTally, named: u64) -> Self {
        Self {
            name: name.to_owned(),
            calls: pod.calls,
            share: pod.calls as f64 / named.max(1) as f64,
            errors: pod.errors,
            p50: pod.latency.percentile(50.0).as_secs_f64(),
            p99: pod.latency.percentile(99.0).as_secs_f64(),
            first_at: pod.first_at.as_secs_f64(),
            last_at: pod.last_at.as_secs_f64(),
        }
    }
}

// === impl Percentiles ===

impl Percentiles {
    pub(super) fn new(latency: &Latency) -> Self {
        let seconds = |duration: Duration| duration.as_secs_f64();
        let at = |percent| seconds(latency.percentile(percent));
        Self {
            min: seconds(latency.min()),
            mean: seconds(latency.mean()),
            p50: at(50.0),
            p75: at(75.0),
            p90: at(90.0),
            p95: at(95.0),
            p99: at(99.0),
            p999: at(99.9),
            max: seconds(latency.max()),
        }
    }
}

// === impl Figures ===

impl Figures {
    pub(super) fn new(balance: &Balance) -> Self {
        let spread = match balance.spread() {
            Spread::Unknown => "unknown",
            Spread::TooFew { .. } => "too-few",
            Spread::Unsettled => "unsettled",
            Spread::OnePod => "one-pod",
            Spread::Even => "even",
            Spread::Random => "random",
            Spread::Uneven => "uneven",
        };
        Self {
            spread,
            pods: balance.pods,
            calls: balance.calls,
            calls_needed: match balance.spread() {
                Spread::TooFew { needed } => Some(needed),
                _ => None,
            },
            changes: balance.changes.clone(),
            stable: balance.stable,
            skew: Some(balance.skew).filter(|skew| skew.is_finite()),
            variation: balance.variation,
            p_value: balance.p_value,
        }
    }
}
