//! The figures of a result: of the latencies, of each pod, of the errors, and of the balance.

use std::time::Duration;

use serde::Serialize;

use crate::{
    balance::{Balance, PodChange, Spread},
    tally::{Latency, PodTally},
};

/// A distribution of latencies, in seconds; zeros when there were no calls.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[allow(missing_docs, reason = "their names say it")]
pub struct Percentiles {
    pub min: f64,
    pub mean: f64,
    pub p50: f64,
    pub p75: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    #[serde(rename = "p99.9")]
    pub p999: f64,
    pub max: f64,
}

/// One pod.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Pod {
    /// Its name, as the answers give it.
    pub name: String,
    /// Calls it answered with success.
    pub calls: u64,
    /// Share of all calls that named their pod and succeeded, from 0 to 1.
    pub share: f64,
    /// Calls it answered with an error.
    pub errors: u64,
    /// Median latency.
    pub p50: f64,
    /// 99 % were no slower.
    pub p99: f64,
    /// The time of its first answer, in seconds from the start.
    pub first_at: f64,
    /// The time of its last answer.
    pub last_at: f64,
}

/// Failed calls of one cause.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Errors {
    /// A sentence.
    pub cause: String,
    /// The number.
    pub count: u64,
}

/// The evenness of the calls over pods.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Figures {
    /// `unknown`, `too-few`, `unsettled`, `one-pod`, `even`, `random` or `uneven`.
    pub spread: &'static str,
    /// Pods that answered.
    pub pods: usize,
    /// Calls that these figures are about: those of known pods, while the set of pods was stable.
    pub calls: u64,
    /// The number of calls that it takes to tell, if there were too few.
    pub calls_needed: Option<u64>,
    /// The changes of the set of pods, in the order of time.
    pub changes: Vec<PodChange>,
    /// The time in which the set of pods was stable; null if it never changed.
    pub stable: Option<f64>,
    /// Busiest over idlest; null when a pod gave errors only, or a connected endpoint
    /// holds no stream.
    pub skew: Option<f64>,
    /// Coefficient of variation of the calls per pod.
    pub variation: f64,
    /// P-value of the chi-squared test against equal shares; null with fewer than two pods.
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
