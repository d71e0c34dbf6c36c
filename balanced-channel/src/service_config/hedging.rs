//! The settings of hedging (gRFC A6), and their validation.

use std::time::Duration;

use super::retry::{MAX_ATTEMPTS, RetryConfigError, StatusCodes, bad};

/// Hedges slow calls: sends them to another endpoint as well ([gRFC A6]).
///
/// After `hedging_delay` without a response, a further attempt, a *hedge*, starts on another endpoint, while the first
/// attempt continues. The first success is the call's response, and the channel cancels the other attempts. Hedging is
/// for methods that may run twice. A method has a retry policy or a hedging policy, not both.
///
/// - A failure with a code in `non_fatal_status_codes` starts the next hedge at once. Any other failure ends the call.
/// - A server that sends `grpc-retry-pushback-ms` delays the next hedge, or forbids more.
/// - A hedge for slowness takes a token of the channel's [`HedgingBudget`], so that endpoints that are all slow do not
///   get a multiple of their calls. A peer that leaves a keepalive PING unanswered is not slow but unresponsive: calls
///   in flight on its connection are hedged without a token (see [`Keepalive`](crate::Keepalive)).
/// - While [`RetryThrottling`](crate::RetryThrottling) forbids retries, there are no hedges either.
/// - A request whose messages are still being sent is not hedged for slowness.
///
/// [gRFC A6]: https://github.com/grpc/proposal/blob/master/A6-client-retries.md#hedging-policy
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HedgingPolicy {
    /// The maximum number of attempts, including the first: at least 2; more than 5 count as 5. Default: 2.
    pub max_attempts: u32,
    /// The time without a response after which the next attempt starts. 0 starts all at once, as far as the budget
    /// goes. Default: 250 ms.
    pub hedging_delay: Duration,
    /// The codes that do not end the call: other attempts go on, and the next starts at once. Default: UNAVAILABLE.
    pub non_fatal_status_codes: StatusCodes,
}

/// Limits the number of hedges because of slow attempts to a share of the calls, by one token bucket per channel.
///
/// Each call of a method with a hedging policy adds `percent` hundredths of a token, and each hedge because of slowness
/// removes one. The bucket is full at first. Not in gRFC A6; the retry budgets of Finagle and Envoy are similar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HedgingBudget {
    /// The long-run maximum of hedges per hundred calls, 0 to 100. Default: 5.
    pub percent: u32,
    /// The size of the bucket: the hedges that may start in a burst, at most 100 000. Default: 20.
    pub burst: u32,
}

// === impl HedgingPolicy ===

impl Default for HedgingPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 2,
            hedging_delay: Duration::from_millis(250),
            non_fatal_status_codes: [tonic::Code::Unavailable].into(),
        }
    }
}

impl HedgingPolicy {
    /// Checks the values against gRFC A6.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its range.
    pub fn check(&self) -> Result<(), RetryConfigError> {
        if self.max_attempts < 2 {
            let problem = format!("is {}; it must be at least 2", self.max_attempts);
            return bad("hedgingPolicy.maxAttempts", problem);
        }
        Ok(())
    }

    /// Returns the effective maximum number of attempts.
    pub(crate) fn attempts(&self) -> u32 {
        self.max_attempts.min(MAX_ATTEMPTS)
    }
}

// === impl HedgingBudget ===

impl Default for HedgingBudget {
    fn default() -> Self {
        Self { percent: 5, burst: 20 }
    }
}

impl HedgingBudget {
    /// Checks the values.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its range.
    pub fn check(&self) -> Result<(), RetryConfigError> {
        if self.percent > 100 {
            return bad("hedgingBudget.percent", format!("is {}; it must be from 0 to 100", self.percent));
        }
        if self.burst > 100_000 {
            return bad("hedgingBudget.burst", format!("is {}; it must be at most 100000", self.burst));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_out_of_range_is_named() {
        let good = HedgingPolicy::default();
        assert_eq!(good.check(), Ok(()));
        assert_eq!(HedgingPolicy { max_attempts: 9, ..good }.attempts(), 5);
        let few = HedgingPolicy { max_attempts: 1, ..good };
        assert_eq!(few.check().unwrap_err().field, "hedgingPolicy.maxAttempts");
        let good = HedgingBudget::default();
        assert_eq!(good.check(), Ok(()));
        for (budget, field) in [
            (HedgingBudget { percent: 101, ..good }, "hedgingBudget.percent"),
            (HedgingBudget { burst: 100_001, ..good }, "hedgingBudget.burst"),
        ] {
            assert_eq!(budget.check().unwrap_err().field, field);
        }
    }
}
