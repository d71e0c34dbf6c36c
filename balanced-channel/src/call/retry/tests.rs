//! Tests of retry decisions and waits, without a network.

use super::*;
use crate::service_config::RetryThrottling;

fn policy() -> RetryPolicy {
    RetryPolicy {
        max_attempts: 5,
        initial_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_millis(300),
        ..RetryPolicy::default()
    }
}

fn failed(code: Code, progress: Progress, pushback: Pushback) -> AttemptFailure {
    AttemptFailure { pushback, progress, ..AttemptFailure::without_endpoint(code) }
}

fn unavailable() -> AttemptFailure {
    failed(Code::Unavailable, Progress::MaybeProcessed, Pushback::None)
}

#[test]
fn waits_grow_to_the_maximum_with_jitter_until_the_attempts_are_used_up() {
    let policy = policy();
    for _ in 0..100 {
        let mut retry = RetryState::new(Some(&policy), None);
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
    let mut retry = RetryState::new(Some(&policy), None);
    retry.after(&unavailable(), true, None).unwrap();
    retry.after(&unavailable(), true, None).unwrap();
    let pushed = failed(Code::Unavailable, Progress::MaybeProcessed, Pushback::After(Duration::from_secs(7)));
    assert_eq!(retry.after(&pushed, true, None), Some(Duration::from_secs(7)));
    assert!(retry.after(&unavailable(), true, None).unwrap() <= Duration::from_millis(120));
}

#[test]
fn failure_outside_the_rules_is_not_retried() {
    let policy = policy();
    let other = failed(Code::Internal, Progress::MaybeProcessed, Pushback::None);
    let never = failed(Code::Unavailable, Progress::MaybeProcessed, Pushback::Never);
    assert_eq!(RetryState::new(None, None).after(&unavailable(), true, None), None, "no policy");
    assert_eq!(RetryState::new(Some(&policy), None).after(&other, true, None), None, "another code");
    assert_eq!(RetryState::new(Some(&policy), None).after(&never, true, None), None, "pushback");
    assert_eq!(RetryState::new(Some(&policy), None).after(&unavailable(), false, None), None, "committed");
    let left = Some(Duration::from_millis(79));
    assert_eq!(RetryState::new(Some(&policy), None).after(&unavailable(), true, left), None, "too late");
}

#[test]
fn unprocessed_call_is_retried_without_a_policy() {
    let mut retry = RetryState::new(None, None);
    let unsent = failed(Code::Unavailable, Progress::NotSent, Pushback::None);
    let refused = failed(Code::Unavailable, Progress::Refused, Pushback::None);
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
fn throttle_counts_failures_with_codes_of_the_policy_or_pushback() {
    let policy = policy();
    let throttle = Arc::new(RetryThrottle::new(RetryThrottling { max_tokens: 4, token_ratio: 1.0 }));
    let retry = |failed: &AttemptFailure| {
        RetryState::new(Some(&policy), Some(&throttle)).after(failed, true, None).is_some()
    };
    for _ in 0..10 {
        retry(&failed(Code::Internal, Progress::MaybeProcessed, Pushback::None));
        retry(&failed(Code::Unavailable, Progress::NotSent, Pushback::None));
    }
    assert!(retry(&unavailable()), "3 of 4 are left");
    retry(&failed(Code::Internal, Progress::MaybeProcessed, Pushback::Never));
    assert!(!retry(&unavailable()), "1 of 4 is left");
}

#[test]
fn invalid_pushback_forbids_retries() {
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
