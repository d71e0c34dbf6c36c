//! A worker: one task that makes the calls of several callers and counts them.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    task::consume_budget,
    time::{Instant, timeout},
};

use super::{Call, Outcome, progress::WorkerProgress, schedule::Pace};
use crate::tally::{Sample, Tally};

/// Makes calls until the plan has no more.
pub(super) struct Worker<C> {
    pub(super) callers: Vec<C>,
    pub(super) pace: Arc<Pace>,
    /// The duration of the earlier runs of the load.
    pub(super) earlier: Duration,
    pub(super) timeout: Duration,
    pub(super) progress: Arc<WorkerProgress>,
}

// === impl Worker ===

impl<C: Call> Worker<C> {
    /// Runs until the plan has no more calls. Returns the callers too.
    pub(super) async fn run(self) -> (Tally, Vec<C>) {
        let Self { callers, pace, earlier, timeout, progress } = self;
        let mut tally = Tally::default();
        let mut finished = Vec::with_capacity(callers.len());
        let mut calls: FuturesUnordered<_> =
            callers.into_iter().map(|caller| next_call(caller, &pace, timeout)).collect();
        while let Some((caller, sample)) = calls.next().await {
            let Some(mut sample) = sample else {
                finished.push(caller);
                continue;
            };
            sample.at += earlier;
            let failed = sample.error.is_some();
            tally.record(sample);
            progress.count(failed, tally.pods.len());
            calls.push(next_call(caller, &pace, timeout));
            // Yields now and then: calls that fail at once are never pending and would block the thread.
            consume_budget().await;
        }
        (tally, finished)
    }
}

/// Waits until a call is due and makes it. Returns no sample if the plan has no more calls.
async fn next_call<C: Call>(mut caller: C, pace: &Pace, limit: Duration) -> (C, Option<Sample>) {
    let Some(due) = pace.next().await else { return (caller, None) };
    let begin = Instant::now();
    let outcome = timeout(limit, caller.call()).await.unwrap_or_else(|_| Outcome {
        error: Some(format!("no answer within {}", humantime::format_duration(limit))),
        ..Outcome::default()
    });
    let end = Instant::now();
    let sample = Sample {
        at: end - pace.start(),
        late: begin - due,
        latency: end - due,
        pod: outcome.pod,
        error: outcome.error,
        messages: outcome.messages,
    };
    (caller, Some(sample))
}
