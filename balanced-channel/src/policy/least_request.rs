//! `least_request`: of a few random endpoints, the one with the fewest calls in flight (gRFC A48).

use std::sync::Arc;

use tokio::time::Instant;

use super::{LbPolicy, PickArgs, PickResult, Picker, slow_start::SlowStart};
use crate::subchannel::ReadySubchannel;

/// The bounds of [`LeastRequest::choice_count`], as in gRPC.
const CHOICES: (usize, usize) = (2, 10);

/// `least_request` ([gRFC A48]): each call compares some endpoints, chosen at random, and goes to the
/// one with the fewest calls of this channel in flight. It sends less to slow backends.
///
/// A call never compares an endpoint with itself.
///
/// [gRFC A48]: https://github.com/grpc/proposal/blob/master/A48-xds-least-request-lb-policy.md
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LeastRequest {
    /// The number of endpoints that each call compares, from 2 to 10. Default: 2.
    pub choice_count: usize,
    /// Slow start. While an endpoint is starting, its number of calls in flight is divided by its part of the full
    /// share (see [`SlowStart`]) before it is compared. Default: none. An extension to A48, as in Envoy.
    pub slow_start: Option<SlowStart>,
}

#[derive(Debug)]
pub(super) struct LeastRequestPolicy {
    config: LeastRequest,
    next: Option<Instant>,
}

#[derive(Debug)]
struct LeastRequestPicker {
    ready: Vec<Arc<ReadySubchannel>>,
    /// The part of the full share of each endpoint; `None` if no endpoint is starting.
    parts: Option<Vec<f64>>,
    choices: usize,
}

// === impl LeastRequest ===

impl Default for LeastRequest {
    fn default() -> Self {
        Self { choice_count: CHOICES.0, slow_start: None }
    }
}

impl LeastRequest {
    /// Sets [`choice_count`](Self::choice_count). A value out of range becomes the nearest one in range.
    pub fn choice_count(mut self, count: usize) -> Self {
        self.choice_count = count;
        self
    }

    /// Sets [`slow_start`](Self::slow_start).
    pub fn slow_start(mut self, slow_start: SlowStart) -> Self {
        self.slow_start = Some(slow_start);
        self
    }
}

// === impl LeastRequestPolicy ===

impl LeastRequestPolicy {
    pub(super) fn new(config: LeastRequest) -> Self {
        Self { config, next: None }
    }
}

impl LbPolicy for LeastRequestPolicy {
    fn wake(&self) -> Option<Instant> {
        self.next
    }

    fn picker(&mut self, ready: Vec<Arc<ReadySubchannel>>) -> Box<dyn Picker> {
        let (parts, next) = self.config.slow_start.and_then(|slow| slow.parts(&ready)).unzip();
        self.next = next;
        let choices = self.config.choice_count.clamp(CHOICES.0, CHOICES.1).min(ready.len());
        Box::new(LeastRequestPicker { ready, parts, choices })
    }
}

// === impl LeastRequestPicker ===

impl LeastRequestPicker {
    /// Returns the load of an endpoint with one more call.
    fn load(&self, at: usize) -> f64 {
        let calls = (self.ready[at].subchannel.calls.in_flight() + 1) as f64;
        self.parts.as_ref().map_or(calls, |parts| calls / parts[at])
    }
}

impl Picker for LeastRequestPicker {
    fn pick(&self, _: &PickArgs<'_>) -> Option<PickResult> {
        let count = self.ready.len();
        let start = fastrand::usize(..count);
        let mut least = None;
        for choice in 0..self.choices {
            // Takes one endpoint from each stretch of the list, so that no endpoint is compared with itself.
            let stretch = choice * count / self.choices..(choice + 1) * count / self.choices;
            let at = (start + fastrand::usize(stretch)) % count;
            if !self.ready[at].is_open() {
                continue;
            }
            let load = self.load(at);
            if least.is_none_or(|(_, least)| load < least) {
                least = Some((at, load));
            }
        }
        let picked = match least {
            Some((at, _)) => Some(&self.ready[at]),
            // The connections of all choices have just been lost: takes any open one.
            None => self.ready.iter().find(|ready| ready.is_open()),
        };
        picked.map(PickResult::from)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::testing::TestSubchannels;

    #[tokio::test]
    async fn call_goes_to_the_less_busy_of_two() {
        let subchannels = TestSubchannels::new(2).await;
        let picker = LeastRequestPolicy::new(LeastRequest::default()).picker(subchannels.ready());
        subchannels.begin(0, 5);
        assert_eq!(subchannels.distribution(&*picker, 100), [0, 100]);
        subchannels.begin(1, 6);
        assert_eq!(subchannels.distribution(&*picker, 100), [100, 0]);
    }

    #[tokio::test]
    async fn calls_in_flight_even_out() {
        let subchannels = TestSubchannels::new(100).await;
        for choices in [0, 2, 10, 99] {
            let picker = LeastRequestPolicy::new(LeastRequest::default().choice_count(choices))
                .picker(subchannels.ready());
            for _ in 0..1000 {
                subchannels.begin(subchannels.picked(&*picker).unwrap(), 1);
            }
        }
        let most = subchannels.ready().iter().map(|ready| ready.subchannel.calls.in_flight()).max().unwrap();
        assert!((40..=44).contains(&most), "40 is the mean, {most} the most");
    }

    #[tokio::test]
    async fn idle_endpoints_share_evenly() {
        let subchannels = TestSubchannels::new(7).await;
        let picker =
            LeastRequestPolicy::new(LeastRequest::default().choice_count(3)).picker(subchannels.ready());
        let counts = subchannels.distribution(&*picker, 70_000);
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn new_endpoint_starts_slowly() {
        let subchannels = TestSubchannels::new(1).await;
        tokio::time::advance(Duration::from_secs(100)).await;
        let subchannels = subchannels.and(1).await;
        let slow = SlowStart::new(Duration::from_secs(100));
        let mut policy = LeastRequestPolicy::new(LeastRequest::default().slow_start(slow));
        for (age, expected) in [(0, [100, 10]), (50, [74, 36]), (50, [55, 55])] {
            tokio::time::advance(Duration::from_secs(age)).await;
            let picker = policy.picker(subchannels.ready());
            subchannels.end_all();
            for _ in 0..110 {
                subchannels.begin(subchannels.picked(&*picker).unwrap(), 1);
            }
            let in_flight = subchannels.in_flight();
            assert!(in_flight[0].abs_diff(expected[0]) <= 1, "{in_flight:?}, not {expected:?}");
        }
        assert_eq!(policy.wake(), None);
    }

    #[tokio::test]
    async fn lost_connection_is_skipped() {
        let subchannels = TestSubchannels::new(5).await;
        let picker = LeastRequestPolicy::new(LeastRequest::default()).picker(subchannels.ready());
        for lost in 0..4 {
            subchannels.lose(lost).await;
        }
        assert_eq!(subchannels.distribution(&*picker, 100), [0, 0, 0, 0, 100]);
        subchannels.lose(4).await;
        assert_eq!(subchannels.distribution(&*picker, 1), [0; 5]);
    }
}
