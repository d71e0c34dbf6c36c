//! The time to wait before the next attempt, per the [gRPC connection-backoff document].
//!
//! [gRPC connection-backoff document]: https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md

use std::time::Duration;

/// The longest wait that a backoff may have: the longest duration of protobuf, 10 000 years.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(315_576_000_000);

/// An exponential backoff. The defaults are those of the gRPC connection-backoff document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BackoffPolicy {
    /// The first wait. Default: 1 s.
    pub initial: Duration,
    /// The growth factor of the wait. Default: 1.6.
    pub multiplier: f64,
    /// The maximum deviation of a wait, as a fraction of it. Default: 0.2.
    pub jitter: f64,
    /// The maximum wait, before jitter. Default: 120 s.
    pub max: Duration,
}

/// A backoff setting is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("backoff {field} {problem}")]
pub struct BackoffError {
    /// The field of [`BackoffPolicy`].
    pub field: &'static str,
    /// The problem, as a predicate of the field's name.
    pub problem: String,
}

/// The current state of a backoff.
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

impl BackoffPolicy {
    /// Checks that waits can be computed from the values.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its range.
    pub fn check(&self) -> Result<(), BackoffError> {
        for (field, wait) in [("initial", self.initial), ("max", self.max)] {
            if wait > MAX_WAIT {
                let problem = format!("is {wait:?}; it must be at most {} s", MAX_WAIT.as_secs());
                return Err(BackoffError { field, problem });
            }
        }
        if !(self.multiplier.is_finite() && self.multiplier > 0.0) {
            let problem = format!("is {}; it must be more than 0", self.multiplier);
            return Err(BackoffError { field: "multiplier", problem });
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            let problem = format!("is {}; it must be from 0 to 1", self.jitter);
            return Err(BackoffError { field: "jitter", problem });
        }
        Ok(())
    }
}

// === impl Backoff ===

impl Backoff {
    pub(crate) fn new(policy: BackoffPolicy) -> Self {
        Self { policy, next: policy.initial.min(policy.max) }
    }

    /// Returns the wait before the next attempt, with jitter, and increases the one after it.
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

/// Returns `wait`, longer or shorter by a random fraction of up to `jitter`.
pub(crate) fn jittered(wait: Duration, jitter: f64) -> Duration {
    let factor = 1.0 + jitter.clamp(0.0, 1.0) * (fastrand::f64() * 2.0 - 1.0);
    wait.mul_f64(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_maximum_and_restart_after_a_reset() {
        let policy = BackoffPolicy { jitter: 0.0, max: Duration::from_secs(3), ..Default::default() };
        let mut backoff = Backoff::new(policy);
        let waits: Vec<_> = (0..4).map(|_| backoff.wait().as_millis()).collect();
        assert_eq!(waits, [1000, 1600, 2560, 3000]);
        backoff.reset();
        assert_eq!(backoff.wait().as_millis(), 1000);
    }

    #[test]
    fn value_out_of_range_is_named() {
        let good = BackoffPolicy::default();
        assert_eq!(good.check(), Ok(()));
        for (policy, field) in [
            (BackoffPolicy { initial: Duration::MAX, ..good }, "initial"),
            (BackoffPolicy { max: Duration::MAX, ..good }, "max"),
            (BackoffPolicy { multiplier: f64::NAN, ..good }, "multiplier"),
            (BackoffPolicy { multiplier: 0.0, ..good }, "multiplier"),
            (BackoffPolicy { jitter: -0.1, ..good }, "jitter"),
        ] {
            assert_eq!(policy.check().unwrap_err().field, field);
        }
        let longest = BackoffPolicy { initial: MAX_WAIT, max: MAX_WAIT, multiplier: f64::MAX, jitter: 1.0 };
        assert_eq!(longest.check(), Ok(()));
        let mut backoff = Backoff::new(longest);
        assert!(backoff.wait() <= 2 * MAX_WAIT && backoff.wait() <= 2 * MAX_WAIT);
    }

    #[test]
    fn jitter_stays_within_its_fraction() {
        let waits: Vec<_> = (0..1000).map(|_| jittered(Duration::from_secs(10), 0.2).as_secs_f64()).collect();
        assert!(waits.iter().all(|wait| (8.0..=12.0).contains(wait)));
        assert!(waits.iter().any(|wait| *wait < 9.0) && waits.iter().any(|wait| *wait > 11.0));
    }
}
