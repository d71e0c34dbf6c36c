//! Resolvers that repeat a lookup, and the schedule of their lookups.

use std::{future::Future, panic::AssertUnwindSafe, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::time::{Instant, sleep_until};

use super::{Endpoint, ResolveError, Resolver, Updates, outcome_log::OutcomeLog};
use crate::backoff::{Backoff, BackoffPolicy};

/// The longest pause between lookups that fail.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// A source of the endpoints of a target that can be queried: DNS, a registry, a file.
pub trait Lookup: Send + 'static {
    /// Queries the source once. Must have a time limit, because the resolver waits for the result.
    ///
    /// # Errors
    ///
    /// If the source does not answer. An answer without endpoints is not an error: it means that no endpoint is ready.
    fn lookup(&mut self) -> impl Future<Output = Result<LookupAnswer, ResolveError>> + Send;
}

/// The result of a [`Lookup`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookupAnswer {
    /// All endpoints, in any order. Duplicates are ignored.
    pub endpoints: Vec<Endpoint>,
    /// The time for which the answer is valid, within the bounds of [`Refresh`].
    pub ttl: Duration,
}

/// The time between two lookups of a [`PollingResolver`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// The minimum time between two lookups. Default: 1 s.
    pub min: Duration,
    /// The maximum time between two lookups that succeed, for any TTL. Default: 2 s.
    pub max: Duration,
}

/// A resolver that repeats a [`Lookup`].
///
/// The next lookup starts when the TTL of the answer has passed, within the bounds of [`Refresh`], or after a failed
/// lookup with a backoff with jitter of up to 5 s. When the channel requests a refresh, because a connection was lost
/// or could not be established, the next lookup starts as soon as [`Refresh::min`] allows.
#[derive(Debug)]
pub struct PollingResolver<L> {
    lookup: L,
    refresh: Refresh,
}

// === impl Refresh ===

impl Default for Refresh {
    fn default() -> Self {
        Self { min: Duration::from_secs(1), max: Duration::from_secs(2) }
    }
}

impl Refresh {
    /// Returns the time between a lookup whose answer is valid for `ttl` and the next one.
    fn after(&self, ttl: Duration) -> Duration {
        ttl.min(self.max).max(self.min)
    }
}

// === impl PollingResolver ===

impl<L: Lookup> PollingResolver<L> {
    /// Creates a resolver that repeats `lookup` at the intervals of `refresh`.
    pub fn new(lookup: L, refresh: Refresh) -> Self {
        Self { lookup, refresh }
    }
}

impl<L: Lookup> Resolver for PollingResolver<L> {
    fn run(mut self: Box<Self>, updates: Updates) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut pause = Backoff::new(BackoffPolicy {
                initial: self.refresh.min,
                max: MAX_BACKOFF.max(self.refresh.min),
                ..BackoffPolicy::default()
            });
            let mut outcomes = OutcomeLog::default();
            loop {
                let soonest = Instant::now() + self.refresh.min;
                let lookup = AssertUnwindSafe(async { self.lookup.lookup().await });
                let answer = lookup.catch_unwind().await.unwrap_or_else(|_| {
                    tracing::error!("lookup panicked");
                    Err(ResolveError::new("the lookup panicked"))
                });
                let next = match answer {
                    Ok(answer) => {
                        pause.reset();
                        outcomes.answered(answer.endpoints.len());
                        updates.publish(answer.endpoints);
                        soonest - self.refresh.min + self.refresh.after(answer.ttl)
                    }
                    Err(error) => {
                        outcomes.failed(&error);
                        updates.fail(error);
                        // Jitter must not shorten the minimum time.
                        soonest.max(Instant::now() + pause.wait())
                    }
                };
                tokio::select! {
                    () = sleep_until(next) => {}
                    () = updates.refresh_requested() => sleep_until(soonest).await,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::resolver::{Resolutions, updates};

    /// Records the time of each lookup, takes 5 ms, and answers with `ttl`.
    struct Recorded {
        times: Arc<Mutex<Vec<Instant>>>,
        ttl: Result<Duration, ResolveError>,
    }

    impl Lookup for Recorded {
        async fn lookup(&mut self) -> Result<LookupAnswer, ResolveError> {
            self.times.lock().unwrap().push(Instant::now());
            tokio::time::sleep(Duration::from_millis(5)).await;
            self.ttl.clone().map(|ttl| LookupAnswer { endpoints: Vec::new(), ttl })
        }
    }

    /// The pauses between the lookups of `span`, in milliseconds; `ask` is done every 10 ms.
    async fn pauses(
        ttl: Result<Duration, ResolveError>,
        span: Duration,
        ask: impl Fn(&Resolutions),
    ) -> Vec<u128> {
        let times = Arc::new(Mutex::new(Vec::new()));
        let (updates, resolutions) = updates();
        let polled = PollingResolver::new(Recorded { times: times.clone(), ttl }, Refresh::default());
        let polling = tokio::spawn(Box::new(polled).run(updates));
        let end = Instant::now() + span;
        while Instant::now() < end {
            ask(&resolutions);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        polling.abort();
        let times = times.lock().unwrap();
        times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect()
    }

    const SPAN: Duration = Duration::from_secs(120);

    #[tokio::test(start_paused = true)]
    async fn answer_is_valid_for_its_ttl_within_bounds() {
        for (ttl, expected) in [(0, 1000), (1500, 1500), (30_000, 2000), (u64::MAX, 2000)] {
            let pauses = pauses(Ok(Duration::from_millis(ttl)), SPAN, |_| {}).await;
            assert!(pauses.len() > 50 && pauses.iter().all(|pause| *pause == expected), "{ttl}: {pauses:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn constant_refresh_requests_cause_one_lookup_a_second() {
        for ttl in [Ok(Duration::from_secs(30)), Err(ResolveError::new("no"))] {
            let pauses = pauses(ttl, SPAN, |resolutions| resolutions.request_refresh.notify_one()).await;
            assert!(pauses.len() > 110 && pauses.iter().all(|pause| *pause >= 1000), "{pauses:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn repeated_failure_backs_off_with_jitter_up_to_five_seconds() {
        let pauses = pauses(Err(ResolveError::new("no")), SPAN * 5, |_| {}).await;
        assert!(pauses[0] >= 1000 && pauses[1] > 1200 && pauses[2] > 2000, "{pauses:?}");
        let settled = &pauses[6..];
        assert!(
            settled.len() > 60 && settled.iter().all(|pause| (4000..=6010).contains(pause)),
            "{pauses:?}"
        );
        assert!(settled.iter().any(|pause| *pause < 4900) && settled.iter().any(|pause| *pause > 5100));
    }
}
