//! The time to wait before the next attempt, per the [gRPC connection-backoff document].
//!
//! [gRPC connection-backoff document]: https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md

use std::time::Duration;

/// The shape of an exponential backoff. The defaults are the document's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BackoffPolicy {
    /// The first wait. Default: 1 s.
    pub initial: Duration,
    /// The factor by which each further wait grows. Default: 1.6.
    pub multiplier: f64,
    /// How far a wait may stray to either side, as a fraction of it. Default: 0.2.
    pub jitter: f64,
    /// The longest wait, before jitter. Default: 120 s.
    pub max: Duration,
}

/// A backoff under way.
#[derive(Debug)]
pub(crate) struct Backoff {
    policy: BackoffPolicy,
    next: Duration,
}

// === impl BackoffPolicy ===

impl Default for BackoffPolicy {
    fn default() -> Self {
        Self { initial: Duration::from_secs(1), multiplier: 1.6, jitter: 0.2, max: Duration::from_secs(120) }
    }
}

// === impl Backoff ===

impl Backoff {
    pub(crate) fn new(policy: BackoffPolicy) -> Self {
        Self { policy, next: policy.initial.min(policy.max) }
    }

    /// The wait before the next attempt, jittered; each call lengthens the one after.
    pub(crate) fn wait(&mut self) -> Duration {
        let wait = self.next;
        let longer = wait.as_secs_f64() * self.policy.multiplier;
        self.next = Duration::try_from_secs_f64(longer).map_or(self.policy.max, |d| d.min(self.policy.max));
        jittered(wait, self.policy.jitter)
    }

    /// Starts again with the first wait.
    pub(crate) fn reset(&mut self) {
        self.next = self.policy.initial.min(self.policy.max);
    }
}

/// `wait`, moved by up to `jitter` of itself to either side.
pub(crate) fn jittered(wait: Duration, jitter: f64) -> Duration {
    let factor = 1.0 + jitter.clamp(0.0, 1.0) * (fastrand::f64() * 2.0 - 1.0);
    wait.mul_f64(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_maximum_and_start_again() {
        let policy = BackoffPolicy { jitter: 0.0, max: Duration::from_secs(3), ..Default::default() };
        let mut backoff = Backoff::new(policy);
        let waits: Vec<_> = (0..4).map(|_| backoff.wait().as_millis()).collect();
        assert_eq!(waits, [1000, 1600, 2560, 3000]);
        backoff.reset();
        assert_eq!(backoff.wait().as_millis(), 1000);
    }

    #[test]
    fn jitter_stays_within_its_fraction() {
        let waits: Vec<_> = (0..1000).map(|_| jittered(Duration::from_secs(10), 0.2).as_secs_f64()).collect();
        assert!(waits.iter().all(|wait| (8.0..=12.0).contains(wait)));
        assert!(waits.iter().any(|wait| *wait < 9.0) && waits.iter().any(|wait| *wait > 11.0));
    }
}
