//! Whether a failed attempt is followed by another, and when ([gRFC A6]).
//!
//! What no server has seen is sent again at once, whatever the policy (transparent retry). What
//! failed with a code that the method's policy covers is sent again after a backoff, or after the
//! time that the server asks for, as long as attempts, throttle and deadline allow.
//!
//! [gRFC A6]: https://github.com/grpc/proposal/blob/master/A6-client-retries.md

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::Code;

use super::throttle::{Tally, Throttle};
use crate::{
    backoff::{Backoff, BackoffPolicy},
    method_config::RetryPolicy,
    subchannel::Subchannel,
};

/// How often a call that a server refused unprocessed is sent again without a policy's leave. A6
/// says once; a call that meets several pods of a rolling restart, each just draining, needs more.
/// Calls that never left are not counted: each of them has seen another connection end.
const MAX_REFUSALS: u32 = 5;

/// How far a backoff may stray to either side (A6).
const JITTER: f64 = 0.2;

const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

/// How an attempt failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) code: Code,
    pub(crate) seen: Seen,
    pub(crate) pushback: Pushback,
    /// Whose it was, if it got that far.
    pub(crate) subchannel: Option<Arc<Subchannel>>,
}

/// How far a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It never left this process.
    NeverLeft,
    /// A server has refused it unprocessed.
    Refused,
    /// It may have been processed.
    Maybe,
}

/// What the server says about another attempt.
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
pub(crate) struct Retry<'a> {
    policy: Option<&'a RetryPolicy>,
    throttle: Option<&'a Arc<Throttle>>,
    /// How many attempts there were before this one, transparent retries not counted.
    previous: u32,
    refusals: u32,
    /// Made when it is first needed.
    backoff: Option<Backoff>,
    tried: Vec<Arc<Subchannel>>,
}

// === impl Failed ===

impl Failed {
    /// An attempt that found no subchannel.
    pub(crate) fn nowhere(code: Code) -> Self {
        Self { code, seen: Seen::Maybe, pushback: Pushback::None, subchannel: None }
    }

    /// An attempt that may have been processed there.
    pub(crate) fn by(subchannel: &Arc<Subchannel>, code: Code) -> Self {
        Self { subchannel: Some(subchannel.clone()), ..Self::nowhere(code) }
    }
}

// === impl Retry ===

impl<'a> Retry<'a> {
    pub(crate) fn new(policy: Option<&'a RetryPolicy>, throttle: Option<&'a Arc<Throttle>>) -> Self {
        Self { policy, throttle, previous: 0, refusals: 0, backoff: None, tried: Vec::new() }
    }

    /// How long to wait before the next attempt; none when there is none.
    ///
    /// `repeatable` says whether the request can still be sent again, `left` how long the call may
    /// still take: a retry that could not begin before the deadline is not waited for.
    pub(crate) fn after(
        &mut self,
        failed: &Failed,
        repeatable: bool,
        left: Option<Duration>,
    ) -> Option<Duration> {
        let wait = if repeatable && self.transparent(failed.seen) {
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

    fn transparent(&mut self, seen: Seen) -> bool {
        match seen {
            Seen::NeverLeft => true,
            Seen::Refused => {
                self.refusals += 1;
                self.refusals <= MAX_REFUSALS
            }
            Seen::Maybe => false,
        }
    }

    fn by_policy(&mut self, failed: &Failed, repeatable: bool) -> Option<Duration> {
        let policy = self.policy?;
        if !policy.retryable_status_codes.contains(failed.code) && failed.pushback != Pushback::Never {
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

    /// How many attempts there were before this one, transparent retries not counted.
    pub(crate) fn previous(&self) -> u32 {
        self.previous
    }

    /// Says in a request's or a response's headers how many attempts came before.
    pub(crate) fn stamp(&self, headers: &mut HeaderMap) {
        if self.previous > 0 {
            headers.insert(PREVIOUS_ATTEMPTS, HeaderValue::from(self.previous));
        }
    }

    /// What counts the end of a call whose response has begun.
    pub(crate) fn tally(&self) -> Option<Tally> {
        let failures = self.policy?.retryable_status_codes;
        Some(Tally { throttle: self.throttle?.clone(), failures })
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
mod tests {
    use super::*;
    use crate::method_config::RetryThrottling;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            max_attempts: 5,
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_millis(300),
            ..RetryPolicy::default()
        }
    }

    fn failed(code: Code, seen: Seen, pushback: Pushback) -> Failed {
        Failed { code, seen, pushback, subchannel: None }
    }

    fn unavailable() -> Failed {
        failed(Code::Unavailable, Seen::Maybe, Pushback::None)
    }

    #[test]
    fn waits_grow_to_the_maximum_with_jitter_until_the_attempts_are_used_up() {
        let policy = policy();
        for _ in 0..100 {
            let mut retry = Retry::new(Some(&policy), None);
            for (previous, base) in [(1, 100.0), (2, 200.0), (3, 300.0), (4, 300.0)] {
                let wait = retry.after(&unavailable(), true, None).unwrap().as_secs_f64() * 1000.0;
                assert!((base * 0.8..=base * 1.2).contains(&wait), "{wait} for {base}");
                assert_eq!(retry.previous(), previous);
            }
            assert_eq!(retry.after(&unavailable(), true, None), None);
        }
    }

    #[test]
    fn pushback_sets_the_wait_once_and_starts_the_backoff_again() {
        let policy = policy();
        let mut retry = Retry::new(Some(&policy), None);
        retry.after(&unavailable(), true, None).unwrap();
        retry.after(&unavailable(), true, None).unwrap();
        let pushed = failed(Code::Unavailable, Seen::Maybe, Pushback::After(Duration::from_secs(7)));
        assert_eq!(retry.after(&pushed, true, None), Some(Duration::from_secs(7)));
        assert!(retry.after(&unavailable(), true, None).unwrap() <= Duration::from_millis(120));
    }

    #[test]
    fn nothing_is_retried_without_reason_or_against_a_rule() {
        let policy = policy();
        let other = failed(Code::Internal, Seen::Maybe, Pushback::None);
        let never = failed(Code::Unavailable, Seen::Maybe, Pushback::Never);
        assert_eq!(Retry::new(None, None).after(&unavailable(), true, None), None, "no policy");
        assert_eq!(Retry::new(Some(&policy), None).after(&other, true, None), None, "another code");
        assert_eq!(Retry::new(Some(&policy), None).after(&never, true, None), None, "pushback");
        assert_eq!(Retry::new(Some(&policy), None).after(&unavailable(), false, None), None, "committed");
        let left = Some(Duration::from_millis(79));
        assert_eq!(Retry::new(Some(&policy), None).after(&unavailable(), true, left), None, "too late");
    }

    #[test]
    fn what_no_server_has_seen_is_sent_again_without_a_policy() {
        let mut retry = Retry::new(None, None);
        let unsent = failed(Code::Unavailable, Seen::NeverLeft, Pushback::None);
        let refused = failed(Code::Unavailable, Seen::Refused, Pushback::None);
        for _ in 0..100 {
            assert_eq!(retry.after(&unsent, true, None), Some(Duration::ZERO));
        }
        for _ in 0..MAX_REFUSALS {
            assert_eq!(retry.after(&refused, true, None), Some(Duration::ZERO));
        }
        assert_eq!(retry.after(&refused, true, None), None);
        assert_eq!(retry.after(&unsent, false, None), None, "committed");
        assert_eq!(retry.previous(), 0);
    }

    #[test]
    fn the_throttle_counts_what_the_policy_covers_and_pushback() {
        let policy = policy();
        let throttle = Arc::new(Throttle::new(RetryThrottling { max_tokens: 4, token_ratio: 1.0 }));
        let retry =
            |failed: &Failed| Retry::new(Some(&policy), Some(&throttle)).after(failed, true, None).is_some();
        for _ in 0..10 {
            retry(&failed(Code::Internal, Seen::Maybe, Pushback::None));
            retry(&failed(Code::Unavailable, Seen::NeverLeft, Pushback::None));
        }
        assert!(retry(&unavailable()), "3 of 4 are left");
        retry(&failed(Code::Internal, Seen::Maybe, Pushback::Never));
        assert!(!retry(&unavailable()), "1 of 4 is left");
    }

    #[test]
    fn pushback_is_a_number_or_means_never() {
        let read = |values: &[&'static str]| {
            let headers = values.iter().map(|value| (PUSHBACK, HeaderValue::from_static(value)));
            Pushback::of(&headers.collect())
        };
        assert_eq!(read(&[]), Pushback::None);
        assert_eq!(read(&["0"]), Pushback::After(Duration::ZERO));
        assert_eq!(read(&["1500"]), Pushback::After(Duration::from_millis(1500)));
        for never in ["-1", "", "soon", "1.5", "+1", "007", "99999999999"] {
            assert_eq!(read(&[never]), Pushback::Never, "{never}");
        }
        assert_eq!(read(&["1", "1"]), Pushback::Never);
    }
}
