//! Retry throttling (gRFC A6): a bucket of tokens per channel. Failures remove tokens and successes add some.

use std::sync::Arc;

use tonic::Code;

use super::token_bucket::{TOKEN, TokenBucket};
use crate::service_config::{RetryThrottling, StatusCodes};

/// The throttle of a channel.
#[derive(Debug)]
pub(crate) struct RetryThrottle {
    bucket: TokenBucket,
    /// The thousandths of a token that a success adds.
    ratio: u32,
}

/// Records the end of a call whose response has begun.
#[derive(Clone, Debug)]
pub(crate) struct ThrottleRecorder {
    pub(crate) throttle: Arc<RetryThrottle>,
    /// The codes that count as failures.
    pub(crate) failures: StatusCodes,
}

// === impl RetryThrottle ===

impl RetryThrottle {
    pub(crate) fn new(config: RetryThrottling) -> Self {
        Self { bucket: TokenBucket::new(config.max_tokens), ratio: config.milli_ratio() }
    }

    /// Removes a token. Returns whether enough are left for a retry.
    pub(crate) fn failed(&self) -> bool {
        self.bucket.drain();
        self.allows()
    }

    /// Returns whether enough tokens are left for another attempt.
    pub(crate) fn allows(&self) -> bool {
        self.bucket.is_more_than_half_full()
    }

    /// Adds a part of a token.
    pub(crate) fn succeeded(&self) {
        self.bucket.add(self.ratio);
    }

    /// Returns the number of tokens left.
    pub(crate) fn tokens(&self) -> f64 {
        f64::from(self.bucket.units()) / f64::from(TOKEN)
    }
}

// === impl ThrottleRecorder ===

impl ThrottleRecorder {
    pub(crate) fn record(&self, code: Code) {
        if code == Code::Ok {
            self.throttle.succeeded();
        } else if self.failures.contains(code) {
            self.throttle.failed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_empty_bucket_stops_retries_until_calls_succeed() {
        let throttle = RetryThrottle::new(RetryThrottling { max_tokens: 10, token_ratio: 0.5 });
        let allowed = |_| throttle.failed();
        assert_eq!((0..5).map(allowed).collect::<Vec<_>>(), [true, true, true, true, false]);
        // Five are left. Three successes add 1.5, and the failure removes one: 5.5.
        for _ in 0..3 {
            throttle.succeeded();
        }
        assert!(throttle.failed());
        assert!(!throttle.failed());
    }

    #[test]
    fn bucket_stays_between_empty_and_full() {
        let throttle = RetryThrottle::new(RetryThrottling { max_tokens: 2, token_ratio: 100.0 });
        for _ in 0..5 {
            throttle.failed();
        }
        throttle.succeeded();
        throttle.succeeded();
        assert_eq!(throttle.bucket.units(), 2 * TOKEN);
    }

    #[test]
    fn only_covered_failures_count() {
        let throttle = Arc::new(RetryThrottle::new(RetryThrottling { max_tokens: 4, token_ratio: 1.0 }));
        let throttle_recorder =
            ThrottleRecorder { throttle: throttle.clone(), failures: [Code::Unavailable].into() };
        for (code, tokens) in
            [(Code::InvalidArgument, 4), (Code::Ok, 4), (Code::Unavailable, 3), (Code::Ok, 4)]
        {
            throttle_recorder.record(code);
            assert_eq!(throttle.bucket.units(), tokens * TOKEN, "after {code:?}");
        }
    }
}
