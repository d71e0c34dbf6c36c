//! True if a failed attempt is followed by another, and when ([gRFC A6]).
//!
//! What no server has seen is sent again at once, whatever the policy (transparent retry). What
//! failed with a code that the method's policy covers is sent again after a backoff, or after the
//! time that the server asks for, as long as attempts, throttle and deadline allow.
//!
//! [gRFC A6]: https://github.com/grpc/proposal/blob/master/A6-client-retries.md

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::Code;

use super::throttle::{RetryThrottle, ThrottleRecorder};
use crate::{
    backoff::{Backoff, BackoffPolicy},
    service_config::RetryPolicy,
    subchannel::Subchannel,
};

/// The number of times that a call that a server refused unprocessed is sent again without a policy's leave. A6
/// says once; a call that meets several pods of a rolling restart, each just draining, needs more.
/// Calls that never left are not counted: each of them has seen another connection end.
const MAX_REFUSALS: u32 = 5;

/// How far a backoff may stray to either side (A6).
const JITTER: f64 = 0.2;

const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

/// How an attempt failed.
#[derive(Debug)]
pub(crate) struct AttemptFailure {
    pub(crate) code: Code,
    pub(crate) progress: Progress,
    pub(crate) pushback: Pushback,
    /// True if it was given up for another one, because it took too long.
    pub(crate) given_up: bool,
    /// Whose it was, if it got that far.
    pub(crate) subchannel: Option<Arc<Subchannel>>,
}

/// How far a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It never left this process.
    NotSent,
    /// A server has refused it unprocessed.
    Refused,
    /// It may have been processed.
    MaybeProcessed,
}

/// The server's instruction about another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushback {
    /// Nothing.
    None,
    /// Not before so long.
    After(Duration),
    /// Not at all.
    Never,
}

/// The retries of one call.
#[derive(Debug)]
pub(crate) struct RetryState<'a> {
    policy: Option<&'a RetryPolicy>,
    throttle: Option<&'a Arc<RetryThrottle>>,
    /// The number of attempts that there were before this one, transparent retries not counted.
    previous: u32,
    refusals: u32,
    /// Made when it is first needed.
    backoff: Option<Backoff>,
    tried: Vec<Arc<Subchannel>>,
}

// === impl AttemptFailure ===

impl AttemptFailure {
    /// An attempt that found no subchannel.
    pub(crate) fn nowhere(code: Code) -> Self {
        Self {
            code,
            progress: Progress::MaybeProcessed,
            pushback: Pushback::None,
            given_up: false,
            subchannel: None,
        }
    }

    /// An attempt that may have been processed there.
    pub(crate) fn by(subchannel: &Arc<Subchannel>, code: Code) -> Self {
        Self { subchannel: Some(subchannel.clone()), ..Self::nowhere(code) }
    }
}

// === impl RetryState ===

impl<'a> RetryState<'a> {
    pub(crate) fn new(policy: Option<&'a RetryPolicy>, throttle: Option<&'a Arc<RetryThrottle>>) -> Self {
        Self { policy, throttle, previous: 0, refusals: 0, backoff: None, tried: Vec::new() }
    }

    /// Returns the time to wait before the next attempt; none when there is none.
    ///
    /// `repeatable` says whether the request can still be sent again, `left` how long the call may
    /// still take: a retry that could not begin before the deadline is not waited for.
    pub(crate) fn after(
        &mut self,
        failed: &AttemptFailure,
        repeatable: bool,
        left: Option<Duration>,
    ) -> Option<Duration> {
        let wait = if repeatable && self.transparent(failed.progress) {
            Duration::ZERO
        } else {
            self.by_policy(failed, repeatable)?
        };
        if left.is_some_and(|left| left <= wait) {
            return None;
        }
        self.tried.extend(failed.subchannel.clone());
        Some(wait)
    }

    /// Returns the time that an attempt may take before another one is thought of.
    pub(crate) fn attempt_timeout(&self) -> Option<Duration> {
        self.policy?.per_attempt_recv_timeout
    }

    /// Returns whether an attempt that takes long can be given up for another one, as `after` will see it.
    pub(crate) fn may_give_up(&self, repeatable: bool, left: Option<Duration>) -> bool {
        let Some(policy) = self.policy else { return false };
        // What the failure of the attempt takes is counted already.
        let allowed = self.throttle.is_none_or(|throttle| throttle.allows_one());
        let wait = policy.max_backoff.mul_f64(1.0 + JITTER);
        allowed && repeatable && self.previous + 1 < policy.attempts() && left.is_none_or(|left| left > wait)
    }

    fn transparent(&mut self, progress: Progress) -> bool {
        match progress {
            Progress::NotSent => true,
            Progress::Refused => {
                self.refusals += 1;
                self.refusals <= MAX_REFUSALS
            }
            Progress::MaybeProcessed => false,
        }
    }

    fn by_policy(&mut self, failed: &AttemptFailure, repeatable: bool) -> Option<Duration> {
        let policy = self.policy?;
        let covered = failed.given_up || policy.retryable_status_codes.contains(failed.code);
        if !covered && failed.pushback != Pushback::Never {
            return None;
        }
        // Counted also when it is not retried for another reason.
        let allowed = self.throttle.is_none_or(|throttle| throttle.failed());
        if !allowed || !repeatable || self.previous + 1 >= policy.attempts() {
            return None;
        }
        let backoff = self.backoff.get_or_insert_with(|| {
            Backoff::new(BackoffPolicy {
                initial: policy.initial_backoff,
                multiplier: policy.backoff_multiplier,
                jitter: JITTER,
                max: policy.max_backoff,
            })
        });
        let wait = match failed.pushback {
            Pushback::None => backoff.wait(),
            Pushback::After(wait) => {
                backoff.reset();
                wait
            }
            Pushback::Never => return None,
        };
        self.previous += 1;
        Some(wait)
    }

    /// The subchannels that have failed this call, the latest last.
    pub(crate) fn tried(&self) -> &[Arc<Subchannel>] {
        &self.tried
    }

    /// Returns the number of attempts that there were before this one, transparent retries not counted.
    pub(crate) fn previous(&self) -> u32 {
        self.previous
    }

    /// Says in a request's or a response's headers how many attempts came before.
    pub(crate) fn stamp(&self, headers: &mut HeaderMap) {
        if self.previous > 0 {
            headers.insert(PREVIOUS_ATTEMPTS, HeaderValue::from(self.previous));
        }
    }

    /// Returns the recorder for the end of a call whose response has begun.
    pub(crate) fn throttle_recorder(&self) -> Option<ThrottleRecorder> {
        let failures = self.policy?.retryable_status_codes;
        Some(ThrottleRecorder { throttle: self.throttle?.clone(), failures })
    }
}

// === impl Pushback ===

impl Pushback {
    /// Reads what the server says. What cannot be understood means never (A6).
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(PUSHBACK).iter();
        match (values.next(), values.next()) {
            (None, _) => Self::None,
            (Some(value), None) => {
                let milliseconds = value.to_str().ok().and_then(|text| {
                    let number: i32 = text.parse().ok()?;
                    // No plus sign and no leading zeros.
                    (number.to_string() == text).then_some(number)
                });
                let milliseconds = milliseconds.and_then(|number| u64::try_from(number).ok());
                milliseconds.map_or(Self::Never, |number| Self::After(Duration::from_millis(number)))
            }
            (Some(_), Some(_)) => Self::Never,
        }
    }
}

#[cfg(test)]
mod tests;
