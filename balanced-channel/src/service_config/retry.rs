//! The settings of retries (gRFC A6), and their validation.

use std::{fmt, time::Duration};

use tonic::Code;

use crate::backoff::MAX_WAIT;

/// The maximum number of attempts of a call, even if its policy allows more (gRFC A6).
pub(super) const MAX_ATTEMPTS: u32 = 5;

/// Retries failed calls ([gRFC A6]).
///
/// A call that fails with one of the codes before its response has begun is retried, on another endpoint if there is
/// one. The server may have processed the failed attempt. Use a policy only for methods that may run twice, or with
/// codes that servers return before they process a call. Channels have no retry policy by default.
///
/// Calls that no server has processed are always retried, with or without a policy (transparent retries).
///
/// [gRFC A6]: https://github.com/grpc/proposal/blob/master/A6-client-retries.md
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// The maximum number of attempts, including the first: at least 2; more than 5 count as 5. Default: 4.
    pub max_attempts: u32,
    /// The wait before the first retry, with a jitter of 20 %. Must be greater than 0.
    /// Default: 50 ms.
    pub initial_backoff: Duration,
    /// The maximum wait, before jitter. Must be greater than 0. Default: 1 s.
    pub max_backoff: Duration,
    /// The growth factor of the wait. Must be greater than 0. Default: 2.
    pub backoff_multiplier: f64,
    /// The status codes that are retried, at least one. Default: UNAVAILABLE.
    pub retryable_status_codes: StatusCodes,
}

/// Stops retries while many calls fail (gRFC A6).
///
/// The channel has a bucket of tokens, full at first. Each failure that a retry policy covers removes one, and each
/// success adds `token_ratio`. While at most half of the tokens are left, nothing is retried. The loss of an endpoint
/// with more than `max_tokens / 2` calls in flight stops retries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryThrottling {
    /// The size of the bucket: 1 to 1000 tokens. Default: 1000.
    pub max_tokens: u32,
    /// The number of tokens that a success adds; decimals beyond the third are ignored. At least 0.001.
    /// Default: 0.1.
    pub token_ratio: f64,
}

/// A set of gRPC status codes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct StatusCodes(u32);

/// A setting of retries or hedging is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct RetryConfigError {
    /// The field, by its name in a service config, such as `retryPolicy.maxAttempts`.
    pub field: &'static str,
    /// The problem, as a predicate of the field's name.
    pub problem: String,
}

// === impl RetryPolicy ===

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 4,
            initial_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(1),
            backoff_multiplier: 2.0,
            retryable_status_codes: [Code::Unavailable].into(),
        }
    }
}

impl RetryPolicy {
    /// Checks the values against gRFC A6.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its range.
    pub fn check(&self) -> Result<(), RetryConfigError> {
        if self.max_attempts < 2 {
            return bad(
                "retryPolicy.maxAttempts",
                format!("is {}; it must be at least 2", self.max_attempts),
            );
        }
        for (field, backoff) in [
            ("retryPolicy.initialBackoff", self.initial_backoff),
            ("retryPolicy.maxBackoff", self.max_backoff),
        ] {
            if backoff > MAX_WAIT {
                return bad(field, format!("is {backoff:?}; it must be at most {} s", MAX_WAIT.as_secs()));
            }
            if backoff.is_zero() {
                return bad(field, "is 0; it must be more".to_owned());
            }
        }
        let multiplier = self.backoff_multiplier;
        if !(multiplier.is_finite() && multiplier > 0.0) {
            return bad("retryPolicy.backoffMultiplier", format!("is {multiplier}; it must be more than 0"));
        }
        if self.retryable_status_codes.is_empty() {
            return bad("retryPolicy.retryableStatusCodes", "is empty; name at least one code".to_owned());
        }
        Ok(())
    }

    /// Returns the effective maximum number of attempts.
    pub(crate) fn attempts(&self) -> u32 {
        self.max_attempts.min(MAX_ATTEMPTS)
    }
}

// === impl RetryThrottling ===

impl Default for RetryThrottling {
    fn default() -> Self {
        Self { max_tokens: 1000, token_ratio: 0.1 }
    }
}

impl RetryThrottling {
    /// Checks the values against gRFC A6.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its range.
    pub fn check(&self) -> Result<(), RetryConfigError> {
        if !(1..=1000).contains(&self.max_tokens) {
            let problem = format!("is {}; it must be from 1 to 1000", self.max_tokens);
            return bad("retryThrottling.maxTokens", problem);
        }
        if !self.token_ratio.is_finite() || self.milli_ratio() == 0 {
            let problem = format!("is {}; it must be at least 0.001", self.token_ratio);
            return bad("retryThrottling.tokenRatio", problem);
        }
        Ok(())
    }

    /// Returns the thousandths of a token that a success puts back.
    pub(crate) fn milli_ratio(&self) -> u32 {
        // The `f64` nearest to 0.29 is slightly smaller and must still give 290. The cast saturates.
        (self.token_ratio * 1000.0 + 1e-6) as u32
    }
}

// === impl StatusCodes ===

impl StatusCodes {
    /// Returns whether `code` is in the set.
    pub fn contains(self, code: Code) -> bool {
        self.0 & Self::bit(code) != 0
    }

    /// Adds `code` to the set.
    pub fn insert(&mut self, code: Code) {
        self.0 |= Self::bit(code);
    }

    /// Returns whether the set has no code.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the codes of the set, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Code> {
        (0..=16).map(Code::from_i32).filter(move |code| self.contains(*code))
    }

    fn bit(code: Code) -> u32 {
        1 << code as u32
    }
}

impl FromIterator<Code> for StatusCodes {
    fn from_iter<T: IntoIterator<Item = Code>>(codes: T) -> Self {
        codes.into_iter().fold(Self::default(), |set, code| Self(set.0 | Self::bit(code)))
    }
}

impl<const N: usize> From<[Code; N]> for StatusCodes {
    fn from(codes: [Code; N]) -> Self {
        codes.into_iter().collect()
    }
}

impl fmt::Debug for StatusCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

pub(super) fn bad(field: &'static str, problem: String) -> Result<(), RetryConfigError> {
    Err(RetryConfigError { field, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_out_of_range_is_named() {
        let good = RetryPolicy::default();
        assert_eq!(good.check(), Ok(()));
        for (policy, field) in [
            (RetryPolicy { max_attempts: 1, ..good }, "retryPolicy.maxAttempts"),
            (RetryPolicy { initial_backoff: Duration::ZERO, ..good }, "retryPolicy.initialBackoff"),
            (RetryPolicy { max_backoff: Duration::MAX, ..good }, "retryPolicy.maxBackoff"),
            (RetryPolicy { max_backoff: Duration::ZERO, ..good }, "retryPolicy.maxBackoff"),
            (RetryPolicy { backoff_multiplier: 0.0, ..good }, "retryPolicy.backoffMultiplier"),
            (RetryPolicy { backoff_multiplier: f64::NAN, ..good }, "retryPolicy.backoffMultiplier"),
            (RetryPolicy { retryable_status_codes: [].into(), ..good }, "retryPolicy.retryableStatusCodes"),
        ] {
            assert_eq!(policy.check().unwrap_err().field, field);
        }
        let good = RetryThrottling::default();
        assert_eq!(good.check(), Ok(()));
        for (throttling, field) in [
            (RetryThrottling { max_tokens: 0, ..good }, "retryThrottling.maxTokens"),
            (RetryThrottling { max_tokens: 1001, ..good }, "retryThrottling.maxTokens"),
            (RetryThrottling { token_ratio: 0.000_9, ..good }, "retryThrottling.tokenRatio"),
            (RetryThrottling { token_ratio: -1.0, ..good }, "retryThrottling.tokenRatio"),
            (RetryThrottling { token_ratio: f64::INFINITY, ..good }, "retryThrottling.tokenRatio"),
        ] {
            assert_eq!(throttling.check().unwrap_err().field, field);
        }
    }

    #[test]
    fn more_than_five_attempts_count_as_five_and_three_decimals_count() {
        assert_eq!(RetryPolicy { max_attempts: 9, ..Default::default() }.attempts(), 5);
        let ratio = |token_ratio| RetryThrottling { token_ratio, max_tokens: 1 }.milli_ratio();
        assert_eq!([ratio(0.5466), ratio(0.29), ratio(0.001), ratio(2.0)], [546, 290, 1, 2000]);
    }

    #[test]
    fn every_code_fits_into_the_set() {
        let all: StatusCodes = (0..=16).map(Code::from_i32).collect();
        assert_eq!(all.iter().count(), 17);
        let one = StatusCodes::from([Code::Unavailable]);
        assert!(one.contains(Code::Unavailable) && !one.contains(Code::Ok) && !one.contains(Code::Unknown));
    }
}
