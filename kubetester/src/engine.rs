//! Makes calls: how many, how fast, by how many callers at once; and counts what became of them.
//!
//! Callers are dealt to as many crews as there are processors. A crew is one task with a [`Tally`] of its
//! own, so that counting takes no lock; the tallies are merged when all calls have ended.

mod progress;
mod schedule;
mod worker;

use std::{sync::Arc, thread::available_parallelism, time::Duration};

use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

pub use self::progress::{Progress, Seen};
use self::{schedule::Pace, worker::Worker};
use crate::tally::{Messages, Tally};

/// Makes one call after the other; one value for each caller.
pub trait Call: Send + 'static {
    /// Makes a call. Dropping the future gives the call up.
    fn call(&mut self) -> impl Future<Output = Outcome> + Send;
}

/// The outcome of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The pod that answered, where the answer says so.
    pub pod: Option<String>,
    /// Why the call failed, if it did: a short sentence, the same for all calls that failed for this cause.
    pub error: Option<String>,
    /// The messages of a server-streaming call, as far as they are known.
    pub messages: Option<Messages>,
}

/// The number of calls that to make, and how fast.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Stop after this many calls.
    pub calls: Option<u64>,
    /// Stop after this time.
    pub duration: Option<Duration>,
    /// Calls a second, due at even distances whether or not earlier ones have ended (an open loop). None:
    /// each caller makes its next call when its last has ended.
    pub rate: Option<f64>,
    /// A call that has not ended after this, counted from when it was sent, has failed.
    pub timeout: Duration,
}

/// The outcome of a [`Plan`].
#[derive(Debug, Default)]
pub struct Run {
    /// The calls.
    pub tally: Tally,
    /// From the first call's start to the last call's end.
    pub elapsed: Duration,
    /// Calls that came due in an open loop and were never made: no caller was free when the load ended.
    pub unsent: u64,
    /// True if the load was stopped before its plan was carried out.
    pub stopped: bool,
}

// === impl Plan ===

impl Plan {
    /// Part number `part` of `parts`, from 0: its share of the calls and of the time, so that all parts together
    /// are the whole.
    pub fn part(&self, part: u32, parts: u32) -> Self {
        let until = |part: u32, calls: u64| {
            // Wide enough for any number of calls; the result is no more than `calls`.
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
    /// Returns whether the load was stopped before its end. A plan without an end is ended by a stop.
    pub fn interrupted(&self, plan: &Plan) -> bool {
        self.stopped && (plan.calls.is_some() || plan.duration.is_some())
    }

    /// Adds a later run of the same load, whose times count from the load's start.
    pub fn add(&mut self, later: Self) {
        let Self { tally, elapsed, unsent, stopped } = later;
        self.tally.merge(tally);
        self.elapsed = elapsed;
        self.unsent += unsent;
        self.stopped |= stopped;
    }
}

/// Carries a plan out and gives the callers back, so that they can go on with their connections.
///
/// Ends early when `stop` is cancelled: calls in flight are waited for, no new ones are made.
pub async fn run<C: Call>(
    plan: &Plan,
    callers: Vec<C>,
    stop: &CancellationToken,
    progress: &Progress,
) -> (Run, Vec<C>) {
    resume(Run::default(), plan, callers, stop, progress).await
}

/// [`run`] that goes on with an earlier run; the time between the two is left out.
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
        // Not awaited: it ends by itself once every call was released or the pace was stopped.
        drop(spawn_blocking(move || pace.release()));
    }

    let mut crews = JoinSet::new();
    for callers in deal(callers) {
        let crew = Worker {
            callers,
            pace: pace.clone(),
            earlier: earlier.elapsed,
            timeout: plan.timeout,
            seen: progress.seen(),
        };
        crews.spawn(crew.work());
    }

    let Run { mut tally, elapsed, unsent, mut stopped } = earlier;
    let mut callers = Vec::new();
    let mut gather = async || {
        while let Some(crew) = crews.join_next().await {
            // A crew that panicked is a bug; its calls are missing then, and the panic was printed.
            let Ok((counted, back)) = crew else { continue };
            tally.merge(counted);
            callers.extend(back);
        }
    };
    tokio::select! {
        () = gather() => {}
        () = stop.cancelled() => { stopped = true; pace.stop(); gather().await; }
        // Calls that were due in time may still go out late, but not without end.
        () = overrun(pace.end(), plan.timeout) => { pace.stop(); gather().await; }
    }
    let run = Run { tally, elapsed: elapsed + start.elapsed(), unsent: unsent + pace.unsent(), stopped };
    (run, callers)
}

async fn overrun(end: Option<Instant>, grace: Duration) {
    match end {
        Some(end) => drop(timeout_at(end + grace, std::future::pending::<()>()).await),
        None => std::future::pending().await,
    }
}

fn deal<C>(callers: Vec<C>) -> Vec<Vec<C>> {
    let crews = available_parallelism().map_or(1, usize::from).min(callers.len()).max(1);
    let mut hands: Vec<Vec<C>> = (0..crews).map(|_| Vec::new()).collect();
    for (index, caller) in callers.into_iter().enumerate() {
        hands[index % crews].push(caller);
    }
    hands
}
