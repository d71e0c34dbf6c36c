//! Decides whether another attempt follows a failed one, and when ([gRFC A6]).
//!
//! A call that no server has processed is sent again at once, whatever the policy (transparent retry). A call that failed with a
//! code of the method's policy is sent again after a backoff, or after the time that the server requests (pushback), as
//! long as attempts, throttle and deadline allow.
//!
//! [gRFC A6]: https://github.com/grpc/proposal/blob/master/A6-client-retries.md

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::Code;

use super::throttle::{RetryThrottle, ThrottleRecorder};
use crate::{
    backoff::{Backoff, BackoffPolicy},
    service_config::{RetryPolicy, StatusCodes},
};

/// The maximum number of transparent retries of a call that a server refused unprocessed. A6
/// has one; a call that meets several pods of a rolling restart, each just draining, needs more.
/// Calls that never left are not counted: each of them has seen another connection end.
const MAX_REFUSALS: u32 = 5;

/// The jitter of a backoff (A6).
const JITTER: f64 = 0.2;

const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

/// The failure of an attempt.
#[derive(Debug)]
pub(crate) struct AttemptFailure {
    pub(crate) code: Code,
    pub(crate) progress: Progress,
    pub(crate) pushback: Pushback,
    /// The endpoint that it was sent to; none if it did not get that far.
    pub(crate) address: Option<SocketAddr>,
}

/// The progress of a call.
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
    transparent: TransparentRetries,
    /// Made when it is first needed.
    backoff: Option<Backoff>,
}

/// The transparent retries of one attempt or call.
#[derive(Debug, Default)]
pub(crate) struct TransparentRetries {
    refusals: u32,
}

// === impl AttemptFailure ===

impl AttemptFailure {
    /// An attempt that found no subchannel.
    pub(crate) fn nowhere(code: Code) -> Self {
        Self { code, progress: Progress::MaybeProcessed, pushback: Pushback::None, address: None }
    }

    /// An attempt that may have been processed there.
    pub(crate) fn by(address: SocketAddr, code: Code) -> Self {
        Self { address: Some(address), ..Self::nowhere(code) }
    }

    /// Returns whether something of the request may have left this process.
    pub(crate) fn was_sent(&self) -> bool {
        self.address.is_some() && self.progress != Progress::NotSent
    }
}

// === impl RetryState ===

impl<'a> RetryState<'a> {
    pub(crate) fn new(policy: Option<&'a RetryPolicy>, throttle: Option<&'a Arc<RetryThrottle>>) -> Self {
        Self { policy, throttle, previous: 0, transparent: TransparentRetries::default(), backoff: None }
    }

    /// Returns the time to wait before the next attempt; none when there is none.
    ///
    /// `repeatable` is true if the request can still be sent again, `left` how long the call may
    /// still take: a retry that could not begin before the deadline is not waited for.
    pub(crate) fn after(
        &mut self,
        failed: &AttemptFailure,
        repeatable: bool,
        left: Option<Duration>,
    ) -> Option<Duration> {
        let wait = if repeatable && self.transparent.allows(failed.progress) {
            Duration::ZERO
        } else {
            self.by_policy(failed, repeatable)?
        };
        if left.is_some_and(|left| left <= wait) {
            return None;
        }
        Some(wait)
    }

    fn by_policy(&mut self, failed: &AttemptFailure, repeatable: bool) -> Option<Duration> {
        let policy = self.policy?;
        let covered = policy.retryable_status_codes.contains(failed.code);
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

    /// Returns the number of attempts before this one, without transparent retries.
    pub(crate) fn previous(&self) -> u32 {
        self.previous
    }

    /// Returns the recorder for the end of a call whose response has begun. `hedging` has the codes that count as
    /// failures of a hedged call.
    pub(crate) fn throttle_recorder(&self, hedging: Option<StatusCodes>) -> Option<ThrottleRecorder> {
        let failures = self.policy.map(|policy| policy.retryable_status_codes).or(hedging)?;
        Some(ThrottleRecorder { throttle: self.throttle?.clone(), failures })
    }
}

// === impl TransparentRetries ===

impl TransparentRetries {
    /// Returns whether an attempt that came so far is sent again whatever the policy.
    pub(crate) fn allows(&mut self, progress: Progress) -> bool {
        match progress {
            Progress::NotSent => true,
            Progress::Refused => {
                self.refusals += 1;
                self.refusals <= MAX_REFUSALS
            }
            Progress::MaybeProcessed => false,
        }
    }
}

/// Writes into a request's or a response's headers how many attempts came before.
pub(crate) fn stamp(headers: &mut HeaderMap, previous: u32) {
    if previous > 0 {
        headers.insert(PREVIOUS_ATTEMPTS, HeaderValue::from(previous));
    }
}

// === impl Pushback ===

impl Pushback {
    /// Parses the pushback of the server. A value that cannot be parsed forbids retries (A6).
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
