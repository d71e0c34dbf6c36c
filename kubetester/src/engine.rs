//! The load engine: makes the calls of a [`Plan`] with a number of concurrent callers, and counts their outcomes.
//!
//! The callers are distributed over one worker per processor. A worker is a task with its own [`Tally`], so that counting
//! takes no lock; the tallies are merged when all calls have ended.

mod progress;
mod schedule;
mod worker;

use std::{sync::Arc, thread::available_parallelism, time::Duration};

use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

pub use self::progress::{Progress, WorkerProgress};
use self::{schedule::Pace, worker::Worker};
use crate::tally::{Messages, Tally};

/// Makes one call after the other; one value for each caller.
pub trait Call: Send + 'static {
    /// Makes a call. Dropping the future cancels the call.
    fn call(&mut self) -> impl Future<Output = Outcome> + Send;
}

/// The outcome of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The pod that answered, if the answer names it.
    pub pod: Option<String>,
    /// The error of a failed call: a short sentence, which is the same for all calls with the same cause.
    pub error: Option<String>,
    /// The messages of a server-streaming call, if they are known.
    pub messages: Option<Messages>,
}

/// The number and rate of calls to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Stop after this many calls.
    pub calls: Option<u64>,
    /// Stop after this time.
    pub duration: Option<Duration>,
    /// The number of calls per second, which are due at equal intervals even if earlier calls have not ended (an open
    /// loop). With `None`, each caller makes its next call when its last one has ended (a closed loop).
    pub rate: Option<f64>,
    /// The time after which a call has failed, from the time when it was sent.
    pub timeout: Duration,
}

/// The outcome of a [`Plan`].
#[derive(Debug, Default)]
pub struct Run {
    /// The outcomes of the calls.
    pub tally: Tally,
    /// The time from the start of the first call to the end of the last one.
    pub elapsed: Duration,
    /// The number of calls that were due in an open loop and never made, because no caller was free until the load ended.
    pub unsent: u64,
    /// True if the load was stopped before the end of its plan.
    pub stopped: bool,
}

// === impl Plan ===

impl Plan {
    /// Returns one of `parts` equal parts of the plan, counted from 0, so that all parts together make the same calls in the
    /// same time.
    pub fn part(&self, part: u32, parts: u32) -> Self {
        let until = |part: u32, calls: u64| {
            // The product needs 128 bits; the result is at most `calls`.
            (u128::from(calls) * u128::from(part) / u128::from(parts)) as u64
        };
        Self {
            calls: self.calls.map(|calls| until(part + 1, calls) - until(part, calls)),
            duration: self.duration.map(|duration| duration / parts),
            ..*self
        }
    }
}

// === impl Run ===

impl Run {
    /// Returns whether the load was stopped before its end. For a plan without an end, a stop is the normal end.
    pub fn interrupted(&self, plan: &Plan) -> bool {
        self.stopped && (plan.calls.is_some() || plan.duration.is_some())
    }

    /// Adds a later run of the same load, whose times are relative to the start of the load.
    pub fn add(&mut self, later: Self) {
        let Self { tally, elapsed, unsent, stopped } = later;
        self.tally.merge(tally);
        self.elapsed = elapsed;
        self.unsent += unsent;
        self.stopped |= stopped;
    }
}

/// Carries out a plan. Returns the callers too, so that they can make more calls over their connections.
///
/// Cancelling `stop` ends the load: no more calls are made, and those in flight are waited for.
pub async fn run<C: Call>(
    plan: &Plan,
    callers: Vec<C>,
    stop: &CancellationToken,
    progress: &Progress,
) -> (Run, Vec<C>) {
    resume(Run::default(), plan, callers, stop, progress).await
}

/// Does the same as [`run`], and adds the result to an earlier run. The time between the two does not count.
pub async fn resume<C: Call>(
    earlier: Run,
    plan: &Plan,
    callers: Vec<C>,
    stop: &CancellationToken,
    progress: &Progress,
) -> (Run, Vec<C>) {
    let start = Instant::now();
    let pace = Arc::new(Pace::new(plan, callers.len(), start));
    if plan.rate.is_some() {
        let pace = pace.clone();
        // Not awaited: it ends once every call is released or the pace is stopped.
        drop(spawn_blocking(move || pace.release()));
    }

    let mut workers = JoinSet::new();
    for callers in distribute(callers) {
        let worker = Worker {
            callers,
            pace: pace.clone(),
            earlier: earlier.elapsed,
            timeout: plan.timeout,
            progress: progress.add_worker(),
        };
        workers.spawn(worker.run());
    }

    let Run { mut tally, elapsed, unsent, mut stopped } = earlier;
    let mut callers = Vec::new();
    let mut join_workers = async || {
        while let Some(result) = workers.join_next().await {
            // A worker that panicked is a bug: the panic was printed, and its calls are missing.
            let Ok((counted, returned)) = result else { continue };
            tally.merge(counted);
            callers.extend(returned);
        }
    };
    tokio::select! {
        () = join_workers() => {}
        () = stop.cancelled() => { stopped = true; pace.stop(); join_workers().await; }
        // Calls that are due before the end may be sent late, but only within the timeout.
        () = sleep_past(pace.end(), plan.timeout) => { pace.stop(); join_workers().await; }
    }
    let run = Run { tally, elapsed: elapsed + start.elapsed(), unsent: unsent + pace.unsent(), stopped };
    (run, callers)
}

/// Sleeps until `grace` after `end`; without an end, forever.
async fn sleep_past(end: Option<Instant>, grace: Duration) {
    match end {
        Some(end) => drop(timeout_at(end + grace, std::future::pending::<()>()).await),
        None => std::future::pending().await,
    }
}

/// Distributes the callers evenly over one worker per processor.
fn distribute<C>(callers: Vec<C>) -> Vec<Vec<C>> {
    let workers = available_parallelism().map_or(1, usize::from).min(callers.len()).max(1);
    let mut parts: Vec<Vec<C>> = (0..workers).map(|_| Vec::new()).collect();
    for (index, caller) in callers.into_iter().enumerate() {
        parts[index % workers].push(caller);
    }
    parts
}
