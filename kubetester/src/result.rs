//! The result of a load: its parameters, its figures and the verdict. It is also the document that `--json` prints: fields
//! may be added to it, and any other change needs a new version.

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

/// The share of late calls from which a note is added.
const LATE_SHARE: f64 = 0.01;

/// The result of a load. Times are in seconds.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LoadResult {
    /// The kind and version of the document.
    #[cfg_attr(test, schemars(extend("const" = SCHEMA)))]
    pub schema: &'static str,
    /// The target in its complete form.
    pub target: String,
    /// Number of concurrent callers.
    pub callers: usize,
    /// Planned rate of an open loop, in calls per second; null for a closed loop.
    pub rate: Option<f64>,
    /// Time from the start of the first call to the end of the last one.
    pub elapsed: f64,
    /// Calls that ended, whether they succeeded or failed.
    pub calls: u64,
    /// Calls that succeeded.
    pub succeeded: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Average number of calls per second.
    pub calls_per_second: f64,
    /// True if the load was interrupted; then all figures are about the calls until the interruption.
    pub interrupted: bool,
    /// Successful calls whose answer does not name its pod.
    pub unnamed: u64,
    /// Failed calls without an answer, or whose answer does not name its pod.
    pub failed_without_pod: u64,
    /// Delays of the calls of an open loop; null for a closed loop.
    pub schedule: Option<Schedule>,
    /// Latency of the calls that succeeded. In an open loop it is measured from the time when a call was due.
    pub latency: Percentiles,
    /// Messages of all calls; null unless the method streams responses.
    pub messages: Option<u64>,
    /// Time from when a call was due to its first message; null unless the method streams responses.
    pub first_message: Option<Percentiles>,
    /// The streams of `--streams`; null without the flag. Each stream counts as a call, which succeeded if the stream was
    /// open until the end or ended with OK. The latency of such a call is the time to open the stream, and `balance` is that
    /// of the streams that are open at the end.
    pub streams: Option<Streams>,
    /// Pods that answered, sorted by name.
    pub pods: Vec<Pod>,
    /// Failed calls by cause, the most frequent cause first.
    pub errors: Vec<Errors>,
    /// Evenness of the calls over the pods.
    pub balance: Figures,
    /// The verdict as one text: the most likely explanation of the figures.
    pub verdict: String,
    /// The sentences of the verdict with their kinds, the most important first.
    #[cfg_attr(test, schemars(with = "Vec<crate::verdict::Finding>"))]
    pub findings: Verdict,
    /// Remarks that affect how to read the figures.
    pub notes: Vec<String>,
    /// The expectations of the command line and their outcomes.
    pub expectations: Vec<Checked>,
    /// The calls over time. Only with `--details`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over_time: Option<OverTime>,
    /// Histogram of the latencies of the calls that succeeded. Only with `--details`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub histogram: Option<Vec<Bin>>,
}

/// The delays of the calls of an open loop.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Schedule {
    /// Calls that started more than 1 ms after they were due.
    pub late: u64,
    /// Longest delay of a start.
    pub latest: f64,
    /// Calls that were due and never made.
    pub unsent: u64,
}

// === impl LoadResult ===

impl LoadResult {
    /// Computes the result of a load.
    pub fn new(conditions: &Conditions, plan: &Plan, run: &Run, expectations: &Expectations) -> Self {
        let balance = Balance::of(&run.tally);
        let verdict = Verdict::new(conditions, plan, run, &balance);
        Self::with_verdict(conditions, plan, run, &balance, verdict, expectations)
    }

    /// Computes the result of a load of streams. In `plan` and `run`, each stream is one call.
    pub fn of_streams(
        conditions: &Conditions,
        plan: &Plan,
        run: &Run,
        streams: Streams,
        expectations: &Expectations,
    ) -> Self {
        let balance = streams.balance();
        let verdict = Verdict::of_streams(conditions, plan, run, &balance, &streams);
        let result = Self::with_verdict(conditions, plan, run, &balance, verdict, expectations);
        let notes = streams.notes();
        Self { streams: Some(streams), notes, ..result }
    }

    fn with_verdict(
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
