//! The result of a load: what was asked, what was counted, and what it means. This is also the document that
//! `--json` prints; fields are only ever added to it, or its version changes.

mod details;

use std::time::Duration;

use serde::Serialize;

pub use self::details::{Bin, OverTime, PodOverTime};
use crate::{
    balance::{Balance, PodChange, Spread},
    conditions::Conditions,
    engine::{Plan, Run},
    expect::{Checked, Expectations},
    render::{count, percent, time},
    tally::{Latency, PodTally},
    verdict::Verdict,
};

/// The version of the document.
pub const SCHEMA: &str = "kubetester.load/1";

/// A smaller share of late calls than this is not worth a note.
const LATE_SHARE: f64 = 0.01;

/// A load and what became of it. Times are in seconds.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LoadResult {
    /// The version of the document.
    #[cfg_attr(test, schemars(extend("const" = SCHEMA)))]
    pub schema: &'static str,
    /// The target as it was understood.
    pub target: String,
    /// Callers at work at once.
    pub callers: usize,
    /// The wanted rate of an open loop, in calls a second.
    pub rate: Option<f64>,
    /// From the first call's start to the last one's end.
    pub elapsed: f64,
    /// Calls that ended, well or not.
    pub calls: u64,
    /// Calls that succeeded.
    pub succeeded: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Calls a second, over the whole time.
    pub calls_per_second: f64,
    /// True if the load was interrupted before its end; then everything is about a part of it.
    pub interrupted: bool,
    /// Successful answers that do not name their pod.
    pub unnamed: u64,
    /// Failed calls without an answer that names its pod.
    pub failed_without_pod: u64,
    /// Only in an open loop: how well the schedule was kept.
    pub schedule: Option<Schedule>,
    /// Latency of the calls that succeeded; in an open loop counted from when each was due.
    pub latency: Percentiles,
    /// Pods that answered, in the order of their names.
    pub pods: Vec<Pod>,
    /// Failed calls by cause, most first.
    pub errors: Vec<Errors>,
    /// How evenly the calls were spread.
    pub balance: Figures,
    /// The most likely meaning of the figures.
    pub verdict: String,
    /// The sentences of the verdict, each with its kind; the most important first.
    #[cfg_attr(test, schemars(with = "Vec<crate::verdict::Finding>"))]
    pub findings: Verdict,
    /// Sentences that have to be known to read the figures.
    pub notes: Vec<String>,
    /// The expectations and their outcome.
    pub expectations: Vec<Checked>,
    /// The calls over time. In the document only if `--details` are wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over_time: Option<OverTime>,
    /// Distribution of the latencies of the calls that succeeded. In the document only with `--details`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub histogram: Option<Vec<Bin>>,
}

/// How well an open loop kept its schedule.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Schedule {
    /// Calls that started over 1 ms after they were due.
    pub late: u64,
    /// The latest start.
    pub latest: f64,
    /// Calls that came due and were never made.
    pub unsent: u64,
}

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
    /// When its first answer came, from the start.
    pub first_at: f64,
    /// When its last answer came.
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

/// How evenly the calls were spread over pods.
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
    /// Busiest over idlest; null when a pod gave errors only.
    pub skew: Option<f64>,
    /// Coefficient of variation of the calls per pod.
    pub variation: f64,
    /// P-value of the chi-squared test against equal shares; null with fewer than two pods.
    pub p_value: Option<f64>,
}

// === impl LoadResult ===

impl LoadResult {
    /// Puts the figures together.
    pub fn new(conditions: &Conditions, plan: &Plan, run: &Run, expectations: &Expectations) -> Self {
        let tally = &run.tally;
        let balance = Balance::of(tally);
        let named: u64 = tally.pods.values().map(|pod| pod.calls).sum();
        let mut pods: Vec<_> = tally.pods.iter().map(|(name, pod)| Pod::new(name, pod, named)).collect();
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        let errors = tally.errors.iter().map(|(cause, count)| Errors { cause: cause.clone(), count: *count });
        let mut errors: Vec<_> = errors.collect();
        errors.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.cause.cmp(&b.cause)));
        let verdict = Verdict::new(conditions, plan, run, &balance);
        let mut result = Self {
            schema: SCHEMA,
            target: conditions.target.to_string(),
            callers: conditions.callers,
            rate: plan.rate,
            elapsed: run.elapsed.as_secs_f64(),
            calls: tally.calls(),
            succeeded: tally.succeeded,
            failed: tally.failed(),
            calls_per_second: tally.calls() as f64 / run.elapsed.as_secs_f64().max(f64::MIN_POSITIVE),
            interrupted: run.interrupted(plan),
            unnamed: tally.unnamed,
            failed_without_pod: tally.failed_without_pod(),
            schedule: plan.rate.map(|_| Schedule {
                late: tally.lateness.late,
                latest: tally.lateness.most.as_secs_f64(),
                unsent: run.unsent,
            }),
            latency: Percentiles::new(&tally.latency),
            pods,
            errors,
            verdict: verdict.to_string(),
            findings: verdict,
            notes: Vec::new(),
            expectations: expectations.check(plan, run, &balance),
            balance: Figures::new(&balance),
            over_time: Some(OverTime::new(tally)),
            histogram: Some(Bin::all(&tally.latency)),
        };
        result.notes = result.schedule_notes();
        result
    }

    /// Returns a sentence for each problem with the schedule that affects the latencies.
    fn schedule_notes(&self) -> Vec<String> {
        let Some(Schedule { late, latest, unsent }) = self.schedule else { return Vec::new() };
        let mut notes = Vec::new();
        let share = late as f64 / self.calls.max(1) as f64;
        if share >= LATE_SHARE {
            notes.push(format!(
                "{} of the calls started over 1 ms after they were due (the latest {}); their wait is in the latency",
                percent(share),
                time(latest)
            ));
        }
        if unsent > 0 {
            let calls = if unsent == 1 { "call was" } else { "calls were" };
            notes.push(format!(
                "{} {calls} due and never made: no caller was free; they count as failed for --max-errors",
                count(unsent),
            ));
        }
        notes
    }

    /// Returns whether every expectation held.
    pub fn held(&self) -> bool {
        self.expectations.iter().all(|one| one.held)
    }
}

// === impl Pod ===

impl Pod {
    fn new(name: &str, pod: &PodTally, named: u64) -> Self {
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
    fn new(latency: &Latency) -> Self {
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
    fn new(balance: &Balance) -> Self {
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
