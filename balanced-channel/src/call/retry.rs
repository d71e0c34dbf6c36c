//! Decides whether another attempt follows a failed one, and when ([gRFC A6]).
//!
//! A call that no server has processed is retried at once, with or without a policy (transparent retry). A call that
//! failed with a code of the method's policy is retried after a backoff, or after the time that the server requests
//! (pushback), as long as the maximum number of attempts, the throttle and the deadline allow it.
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

/// The maximum number of transparent retries of a call that servers refused without processing it. A6 allows one, but
/// in a rolling restart a call may reach several draining pods in a row. Attempts that were not sent do not count, as
/// each of them follows the end of a connection.
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
    /// The endpoint that the attempt was sent to; `None` if no subchannel was picked.
    pub(crate) address: Option<SocketAddr>,
}

/// The progress of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The attempt was not sent.
    NotSent,
    /// A server has refused the attempt without processing it.
    Refused,
    /// A server may have processed the attempt.
    MaybeProcessed,
}

/// The server's instruction about retries (gRFC A6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushback {
    /// No instruction.
    None,
    /// Retry after this time.
    After(Duration),
    /// Do not retry.
    Never,
}

/// The retries of one call.
#[derive(Debug)]
pub(crate) struct RetryState<'a> {
    policy: Option<&'a RetryPolicy>,
    throttle: Option<&'a Arc<RetryThrottle>>,
    /// The number of attempts before this one, without transparent retries.
    previous: u32,
    transparent: TransparentRetries,
    /// The backoff, created when first needed.
    backoff: Option<Backoff>,
}

/// The transparent retries of one attempt or call.
#[derive(Debug, Default)]
pub(crate) struct TransparentRetries {
    refusals: u32,
}

// === impl AttemptFailure ===

impl AttemptFailure {
    /// Creates the failure of an attempt without a subchannel.
    pub(crate) fn without_endpoint(code: Code) -> Self {
        Self { code, progress: Progress::MaybeProcessed, pushback: Pushback::None, address: None }
    }

    /// Creates the failure of an attempt that the server at `address` may have processed.
    pub(crate) fn by(address: SocketAddr, code: Code) -> Self {
        Self { address: Some(address), ..Self::without_endpoint(code) }
    }

    /// Returns whether a part of the request may have been sent.
    pub(crate) fn was_sent(&self) -> bool {
        self.address.is_some() && self.progress != Progress::NotSent
    }
}

// === impl RetryState ===

impl<'a> RetryState<'a> {
    pub(crate) fn new(policy: Option<&'a RetryPolicy>, throttle: Option<&'a Arc<RetryThrottle>>) -> Self {
        Self { policy, throttle, previous: 0, transparent: TransparentRetries::default(), backoff: None }
    }

    /// Returns the time to wait before the next attempt; `None` if no further attempt is allowed.
    ///
    /// `repeatable` is true if the request can be sent again. `left` is the time until the deadline: there is no retry
    /// that would start after it.
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
        // The throttle counts the failure even if another rule prevents the retry.
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
    /// Returns whether a failed attempt with this progress is retried without a policy.
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

/// Sets the header with the number of previous attempts, in a request or a response.
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
                    // Rejects a plus sign and leading zeros.
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
