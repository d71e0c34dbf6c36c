//! Slow start: an endpoint that has just become READY gets less than its share at first.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::subchannel::ReadySubchannel;

/// The minimum time between two computations of the shares of endpoints that are starting.
const SHORTEST_STEP: Duration = Duration::from_millis(100);
/// The maximum time between them.
const LONGEST_STEP: Duration = Duration::from_secs(1);

/// Gives an endpoint that has just become READY a growing part of its share, for caches and
/// compilers to warm up (gRFC A100, after [Envoy's slow start]).
///
/// The part is `max(min_weight_percent / 100, (age / window) ^ (1 / aggression))`, with an age of at
/// least 1 s. Endpoints that start at the same time have equal shares.
///
/// [Envoy's slow start]: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/slow_start
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SlowStart {
    /// The duration of the start, from the time when the endpoint became READY.
    pub window: Duration,
    /// The growth of the part: linear at 1, faster at first above 1. Must be greater than 0. Default: 1.
    pub aggression: f64,
    /// The smallest part, in percent, from 0 to 100. Default: 10.
    pub min_weight_percent: u32,
}

// === impl SlowStart ===

impl SlowStart {
    /// Creates a slow start of length `window`, with defaults for the other values.
    pub fn new(window: Duration) -> Self {
        Self { window, aggression: 1.0, min_weight_percent: 10 }
    }

    /// Sets the exponent: above 1 the part grows faster at the start.
    pub fn aggression(mut self, aggression: f64) -> Self {
        self.aggression = aggression;
        self
    }

    /// Sets the smallest part, in percent of the whole share.
    pub fn min_weight_percent(mut self, percent: u32) -> Self {
        self.min_weight_percent = percent;
        self
    }

    /// Returns the part of its share for an endpoint that has been READY for `age`.
    pub(super) fn part(&self, age: Duration) -> f64 {
        if age >= self.window {
            return 1.0;
        }
        let time = age.max(Duration::from_secs(1)).as_secs_f64() / self.window.as_secs_f64();
        // A service config rejects values out of range, but the fields are public, so a value may be any number.
        let smallest = f64::from(self.min_weight_percent.min(100)) / 100.0;
        let part = time.powf(1.0 / self.aggression);
        if part.is_finite() { part.clamp(smallest, 1.0) } else { 1.0 }
    }

    /// Returns the share of each of `ready` and the time to compute them again, or `None` if no endpoint is starting.
    pub(super) fn parts(&self, ready: &[Arc<ReadySubchannel>]) -> Option<(Vec<f64>, Instant)> {
        let now = Instant::now();
        let age = |ready: &Arc<ReadySubchannel>| now.saturating_duration_since(ready.since);
        ready.iter().any(|ready| age(ready) < self.window).then(|| {
            let parts = ready.iter().map(|ready| self.part(age(ready))).collect();
            (parts, now + (self.window / 10).clamp(SHORTEST_STEP, LONGEST_STEP))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_grows_from_the_minimum_to_the_full_share() {
        let part = |slow: &SlowStart, seconds| (slow.part(Duration::from_secs(seconds)) * 100.0).round();
        let even = SlowStart::new(Duration::from_secs(100));
        assert_eq!(
            [0, 1, 10, 50, 99, 100, 1000].map(|s| part(&even, s)),
            [10., 10., 10., 50., 99., 100., 100.]
        );
        let eager = SlowStart { aggression: 2.0, min_weight_percent: 0, ..even };
        assert_eq!([0, 1, 4, 25, 81, 100].map(|s| part(&eager, s)), [10., 10., 20., 50., 90., 100.]);
    }

    #[test]
    fn values_out_of_range_give_a_valid_part() {
        for slow in [
            SlowStart::new(Duration::ZERO),
            SlowStart { aggression: 0.0, ..SlowStart::new(Duration::from_secs(9)) },
            SlowStart { aggression: f64::NAN, ..SlowStart::new(Duration::from_secs(9)) },
            SlowStart { min_weight_percent: 900, ..SlowStart::new(Duration::from_secs(9)) },
            SlowStart::new(Duration::from_millis(1)),
        ] {
            let part = slow.part(Duration::ZERO);
            assert!((0.0..=1.0).contains(&part), "{slow:?}: {part}");
        }
    }
}
