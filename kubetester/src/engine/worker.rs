//! A crew: some of the callers, worked by one task, and the tally of their calls.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    task::consume_budget,
    time::{Instant, timeout},
};

use super::{Call, Outcome, progress::Seen, schedule::Pace};
use crate::tally::{Sample, Tally};

/// Calls until there is no more to call.
pub(super) struct Worker<C> {
    pub(super) callers: Vec<C>,
    pub(super) pace: Arc<Pace>,
    /// The time that the load had lasted when this crew began.
    pub(super) earlier: Duration,
    pub(super) timeout: Duration,
    pub(super) seen: Arc<Seen>,
}

// === impl Worker ===

impl<C: Call> Worker<C> {
    /// Ends when each caller was sent home; gives the callers back.
    pub(super) async fn work(self) -> (Tally, Vec<C>) {
        let Self { callers, pace, earlier, timeout, seen } = self;
        let mut tally = Tally::default();
        let mut home = Vec::with_capacity(callers.len());
        let mut away: FuturesUnordered<_> =
            callers.into_iter().map(|caller| turn(caller, &pace, timeout)).collect();
        while let Some((caller, sample)) = away.next().await {
            let Some(mut sample) = sample else {
                home.push(caller);
                continue;
            };
            sample.at += earlier;
            let failed = sample.error.is_some();
            tally.record(sample);
            seen.count(failed, tally.pods.len());
            away.push(turn(caller, &pace, timeout));
            // Calls that fail at once wait for nothing: without this, they would keep the thread to themselves.
            consume_budget().await;
        }
        (tally, home)
    }
}

/// One caller's turn: waits for a call to make, makes it. No sample: there is none to make.
async fn turn<C: Call>(mut caller: C, pace: &Pace, patience: Duration) -> (C, Option<Sample>) {
    let Some(due) = pace.next().await else { return (caller, None) };
    let begin = Instant::now();
    let outcome = timeout(patience, caller.call()).await.unwrap_or_else(|_| Outcome {
        error: Some(format!("no answer within {}", humantime::format_duration(patience))),
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
