//! The result of a load: what was asked, what was counted, and what it means. This is also the document that
//! `--json` prints; fields are only ever added to it, or its version changes.

mod details;
mod figures;
mod streams;

use serde::Serialize;

pub use self::{
    details::{Bin, OverTime, PodOverTime},
    figures::{Errors, Figures, Percentiles, Pod},
    streams::{Ending, IdleEndpoint, Move, PodStreams, Streams},
};
use crate::{
    balance::Balance,
    conditions::Conditions,
    engine::{Plan, Run},
    expect::{Checked, Expectations},
    render::{count, percent, time},
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
    /// Messages of all calls; null unless the method streams responses.
    pub messages: Option<u64>,
    /// The time from when each call was due to its first message; null unless the method streams responses.
    pub first_message: Option<Percentiles>,
    /// With `--streams`: the streams. Each counts as a call, which succeeded if the stream was held to the end or ended
    /// with OK; its latency is the time to open it, and the balance is that of the streams held at the end.
    pub streams: Option<Streams>,
    /// Pods that answered, in the order of their names.
    pub pods: Vec<Pod>,
    /// Failed calls by cause, most first.
    pub errors: Vec<Errors>,
    /// The evenness of the calls.
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

/// The punctuality of an open loop.
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

// === impl LoadResult ===

impl LoadResult {
    /// Puts the figures together.
    pub fn new(conditions: &Conditions, plan: &Plan, run: &Run, expectations: &Expectations) -> Self {
        let balance = Balance::of(&run.tally);
        let verdict = Verdict::new(conditions, plan, run, &balance);
        Self::assemble(conditions, plan, run, &balance, verdict, expectations)
    }

    /// Puts the figures of streams together. `plan` and `run` are theirs, each stream as one call.
    pub fn of_streams(
        conditions: &Conditions,
        plan: &Plan,
        run: &Run,
        streams: Streams,
        expectations: &Expectations,
    ) -> Self {
        let balance = streams.balance();
        let verdict = Verdict::of_streams(conditions, plan, run, &balance, &streams);
        let assembled = Self::assemble(conditions, plan, run, &balance, verdict, expectations);
        let notes = streams.notes();
        Self { streams: Some(streams), notes, ..assembled }
    }

    fn assemble(
        conditions: &Conditions,
        plan: &Plan,
        run: &Run,
        balance: &Balance,
        verdict: Verdict,
        expectations: &Expectations,
    ) -> Self {
        let tally = &run.tally;
        let named: u64 = tally.pods.values().map(|pod| pod.calls).sum();
        let mut pods: Vec<_> = tally.pods.iter().map(|(name, pod)| Pod::new(name, pod, named)).collect();
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        let errors = tally.errors.iter().map(|(cause, count)| Errors { cause: cause.clone(), count: *count });
        let mut errors: Vec<_> = errors.collect();
        errors.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.cause.cmp(&b.cause)));
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
            messages: tally.messages,
            first_message: tally.messages.map(|_| Percentiles::new(&tally.first_message)),
            streams: None,
            pods,
            errors,
            verdict: verdict.to_string(),
            findings: verdict,
            notes: Vec::new(),
            expectations: expectations.check(plan, run, balance),
            balance: Figures::new(balance),
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
