//! Hedging: further attempts while the first one continues (gRFC A6).

use std::{
    future::pending,
    pin::{Pin, pin},
    sync::atomic::Ordering,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    task::yield_now,
    time::{Instant, sleep_until, timeout},
};

use super::{
    Call, CallExecutor,
    attempt::AttemptOutcome,
    retry::{Pushback, TransparentRetries},
    token_bucket::{TOKEN, TokenBucket},
};
use crate::{
    metrics::{HedgeRecording, Recording, ResentRecording},
    service_config::{HedgingBudget, HedgingPolicy},
};

/// The minimum time after which a hedge tries to take a token again.
const MIN_RECHECK: Duration = Duration::from_millis(10);

/// The tokens for hedges because of slow attempts.
#[derive(Debug)]
pub(crate) struct HedgeBudget {
    bucket: TokenBucket,
    /// The number of token units that each call adds.
    share: u32,
}

/// The attempts of a hedged call in flight, and the time of the next one.
struct Race<'a> {
    executor: &'a CallExecutor,
    call: &'a Call<'a>,
    policy: &'a HedgingPolicy,
    resent: Option<ResentRecording>,
    attempts: FuturesUnordered<BoxedAttempt<'a>>,
    /// The number of attempts that have started.
    started: u32,
    /// The time at which the next attempt is due; `None` if no further one may start.
    next: Option<Instant>,
    /// True if the next attempt replaces a failed one, and so needs no token.
    replaces: bool,
    /// The latest failure.
    last: Option<AttemptOutcome>,
}

type BoxedAttempt<'a> = Pin<Box<dyn Future<Output = (Option<HedgeRecording>, AttemptOutcome)> + Send + 'a>>;

impl CallExecutor {
    /// Makes an attempt and its hedges under the policy, until one succeeds or all have failed.
    pub(super) async fn hedged_attempts(
        &self,
        call: &Call<'_>,
        policy: &HedgingPolicy,
        recording: &mut Option<Box<Recording>>,
    ) -> AttemptOutcome {
        self.hedge_budget.deposit();
        let resent = recording.as_mut().map(|recording| recording.resent_within());
        let mut first = pin!(self.attempt_with_transparent_retries(call, 0, resent.clone()));
        let failure = match timeout(policy.hedging_delay, first.as_mut()).await {
            // Nearly every call ends here.
            Ok(outcome @ AttemptOutcome::Responded(_)) => return outcome,
            Ok(outcome) => Some(outcome),
            Err(_) => None,
        };
        let race = Race {
            executor: self,
            call,
            policy,
            resent,
            attempts: FuturesUnordered::new(),
            started: 1,
            next: Some(Instant::now()),
            replaces: false,
            last: None,
        };
        if failure.is_none() {
            race.attempts.push(Box::pin(async { (None, first.await) }));
        }
        // Boxed, so that the future of a call without hedges stays small.
        Box::pin(race.run(failure, recording)).await
    }

    async fn attempt_with_transparent_retries(
        &self,
        call: &Call<'_>,
        previous: u32,
        resent: Option<ResentRecording>,
    ) -> AttemptOutcome {
        let mut transparent = TransparentRetries::default();
        loop {
            let began = Instant::now();
            let outcome = self.attempt(call, previous).await;
            match &outcome {
                AttemptOutcome::Failed(failed, _)
                    if call.body.can_repeat()
                        && !call.deadline.has_passed()
                        && transparent.allows(failed.progress) =>
                {
                    self.retries.transparent.fetch_add(1, Ordering::Relaxed);
                    if let Some(resent) = &resent {
                        resent.record(failed.code, began, &call.body.sent());
                    }
                }
                _ => return outcome,
            }
            drop(outcome);
            // Lets the task of the connection that refused the call run, so that it reports the refusal.
            yield_now().await;
        }
    }
}

// === impl Race ===

impl<'a> Race<'a> {
    /// Runs the race. If there is a `failure`, the first attempt has failed already.
    async fn run(
        mut self,
        failure: Option<AttemptOutcome>,
        recording: &mut Option<Box<Recording>>,
    ) -> AttemptOutcome {
        if let Some(outcome) = failure
            && let Some(outcome) = self.ended(None, outcome, recording)
        {
            return outcome;
        }
        loop {
            let due = self.next;
            tokio::select! {
                biased;
                Some((hedge, outcome)) = self.attempts.next() => {
                    if let Some(outcome) = self.ended(hedge, outcome, recording) {
                        return outcome;
                    }
                }
                () = sleep_until_some(due), if self.may_start() => self.start_when_due(recording),
                () = self.call.tried.unresponsive(), if self.may_start() => self.start(recording),
                else => return self.last.expect("a race without attempts has had a failure"),
            }
        }
    }

    /// Returns whether the policy, the throttle and the request allow another attempt.
    fn may_start(&self) -> bool {
        self.started < self.policy.attempts()
            && self.next.is_some()
            && self.call.body.can_hedge(self.attempts.is_empty())
            && self.executor.throttle.as_ref().is_none_or(|throttle| throttle.allows())
    }

    fn start_when_due(&mut self, recording: &mut Option<Box<Recording>>) {
        if self.replaces || self.executor.hedge_budget.withdraw() {
            self.start(recording);
        } else {
            self.next = Some(Instant::now() + self.policy.hedging_delay.max(MIN_RECHECK));
        }
    }

    fn start(&mut self, recording: &mut Option<Box<Recording>>) {
        let (executor, call, previous) = (self.executor, self.call, self.started);
        self.started += 1;
        self.replaces = false;
        self.next = Instant::now().checked_add(self.policy.hedging_delay);
        executor.retries.hedges.fetch_add(1, Ordering::Relaxed);
        let hedge = recording.as_mut().map(|recording| recording.hedge(call.body.sent()));
        tracing::debug!(target = executor.target, attempt = previous + 1, "hedging call");
        let resent = self.resent.clone();
        self.attempts.push(Box::pin(async move {
            let outcome = executor.attempt_with_transparent_retries(call, previous, resent).await;
            (hedge, outcome)
        }));
    }

    /// Handles the end of an attempt. Returns the outcome of the call, if it has one now.
    fn ended(
        &mut self,
        hedge: Option<HedgeRecording>,
        outcome: AttemptOutcome,
        recording: &mut Option<Box<Recording>>,
    ) -> Option<AttemptOutcome> {
        let (failed, result) = match outcome {
            AttemptOutcome::Responded(response) => {
                if let (Some(recording), Some(hedge)) = (recording, hedge) {
                    recording.hedge_won(hedge);
                }
                return Some(AttemptOutcome::Responded(response));
            }
            AttemptOutcome::Failed(failed, result) => (failed, result),
        };
        match (hedge, &mut *recording) {
            (Some(hedge), _) => hedge.failed(failed.code),
            (None, Some(recording)) => {
                if failed.was_sent() {
                    recording.sends(self.call.body.sent());
                }
                recording.attempt_failed(failed.code);
            }
            (None, None) => {}
        }
        let fatal = !self.policy.non_fatal_status_codes.contains(failed.code);
        if !fatal || failed.pushback == Pushback::Never {
            self.executor.throttle.as_ref().map(|throttle| throttle.failed());
        }
        if !fatal && !self.call.deadline.has_passed() {
            self.next = match failed.pushback {
                Pushback::None => Some(Instant::now()),
                Pushback::After(wait) => Instant::now().checked_add(wait),
                Pushback::Never => None,
            };
            // An attempt that found no connection would find none again.
            self.replaces = failed.address.is_some();
            let in_time =
                |next: Instant| self.call.deadline.left().is_none_or(|left| next < Instant::now() + left);
            let replaced = self.replaces && self.may_start() && self.next.is_some_and(in_time);
            if !self.attempts.is_empty() || replaced {
                self.last = Some(AttemptOutcome::Failed(failed, result));
                return None;
            }
        }
        Some(AttemptOutcome::Failed(failed, result))
    }
}

async fn sleep_until_some(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

// === impl HedgeBudget ===

impl HedgeBudget {
    pub(crate) fn new(config: HedgingBudget) -> Self {
        Self { bucket: TokenBucket::new(config.burst), share: config.percent * TOKEN / 100 }
    }

    /// Adds the share of one call.
    fn deposit(&self) {
        self.bucket.add(self.share);
    }

    /// Takes a token, if there is one.
    fn withdraw(&self) -> bool {
        self.bucket.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hedges_are_a_share_of_the_calls_after_a_burst() {
        let budget = HedgeBudget::new(HedgingBudget { percent: 5, burst: 3 });
        let hedges = |calls: u32| {
            let hedged = |_: &u32| {
                budget.deposit();
                budget.withdraw()
            };
            (0..calls).filter(hedged).count()
        };
        assert_eq!([hedges(3), hedges(17), hedges(1000)], [3, 0, 50]);
    }

    #[test]
    fn empty_or_zero_budget_allows_none() {
        let none = HedgeBudget::new(HedgingBudget { percent: 100, burst: 0 });
        none.deposit();
        assert!(!none.withdraw());
    }
}
