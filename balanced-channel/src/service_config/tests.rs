//! Tests of valid service configs, and of the errors for invalid ones.

use std::time::Duration;

use tonic::Code;

use super::*;
use crate::{
    outlier::{FailurePercentage, SuccessRate},
    policy::{LeastRequest, PickFirst, RandomSubsetting, RingHash, SlowStart, WeightedRoundRobin},
    service_config::RetryPolicy,
};

fn read(json: &str) -> ServiceConfig {
    json.parse().unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn policy(json: &str) -> Policy {
    read(&format!(r#"{{"loadBalancingConfig": {json}}}"#)).policy.unwrap()
}

#[test]
fn empty_config_sets_nothing() {
    for json in ["{}", r#"{"loadBalancingConfig": null, "methodConfig": []}"#] {
        assert_eq!(read(json), ServiceConfig::default(), "{json}");
    }
    let unknown_fields = vec!["somethingNew".to_owned()];
    let expected = ServiceConfig { unknown_fields, ..ServiceConfig::default() };
    assert_eq!(read(r#"{"somethingNew": [1]}"#), expected);
}

#[test]
fn config_of_each_policy_is_parsed() {
    let seconds = Duration::from_secs;
    let slow = SlowStart { aggression: 1.5, min_weight_percent: 5, ..SlowStart::new(seconds(30)) };
    for (json, expected) in [
        (r#"[{"round_robin": {}}]"#, Policy::RoundRobin),
        (r#"[{"pick_first": {}}]"#, PickFirst::default().into()),
        (r#"[{"pick_first": {"shuffleAddressList": true}}]"#, PickFirst::default().shuffle(true).into()),
        (r#"[{"least_request": {}}]"#, LeastRequest::default().into()),
        (
            r#"[{"least_request_experimental": {"choiceCount": "3"}}]"#,
            LeastRequest::default().choice_count(3).into(),
        ),
        (r#"[{"weighted_round_robin": {}}]"#, WeightedRoundRobin::default().into()),
        (
            r#"[{"weighted_round_robin": {"enableOobLoadReport": false, "blackoutPeriod": "1s",
                "weightExpirationPeriod": "2.5s", "weightUpdatePeriod": "0.1s", "errorUtilizationPenalty": 0,
                "slowStartConfig": {"slowStartWindow": "30s", "aggression": 1.5, "minWeightPercent": 5}}}]"#,
            WeightedRoundRobin::default()
                .blackout_period(seconds(1))
                .weight_expiration_period(Duration::from_millis(2500))
                .weight_update_period(Duration::from_millis(100))
                .error_utilization_penalty(0.0)
                .slow_start(slow)
                .into(),
        ),
        (
            r#"[{"ring_hash_experimental": {"requestHashHeader": "X-Key", "maxRingSize": 99}}]"#,
            RingHash::new("x-key".parse().unwrap()).max_ring_size(99).into(),
        ),
        (
            r#"[{"random_subsetting_experimental": {"subsetSize": 20, "childPolicy": [{"pick_first": {}}]}}]"#,
            RandomSubsetting::new(20).child_policy(PickFirst::default()).into(),
        ),
        (r#"[{"xds": {"a": [1]}}, {"pick_first": {}}, {"round_robin": {}}]"#, PickFirst::default().into()),
    ] {
        assert_eq!(policy(json), expected, "{json}");
    }
    assert_eq!(read(r#"{"loadBalancingPolicy": "ROUND_ROBIN"}"#).policy, Some(Policy::RoundRobin));
}

#[test]
fn outlier_detection_policy_sets_the_rules_and_the_child_policy() {
    let json = |fields: &str| {
        read(&format!(
            r#"{{"loadBalancingConfig": [{{"random_subsetting": {{"subsetSize": 2, "childPolicy": [
                {{"outlier_detection_experimental": {{{fields} "childPolicy": [{{"pick_first": {{}}}}]}}}}]}}}}]}}"#
        ))
    };
    let config = json("");
    assert_eq!(config.outlier_detection, Some(OutlierDetection::default()));
    assert_eq!(config.policy, Some(RandomSubsetting::new(2).child_policy(PickFirst::default()).into()));
    let config = json(
        r#""interval": "5s", "baseEjectionTime": "400s", "maxEjectionPercent": 50, "consecutiveFailures": 0, "minAttemptTime": "2s",
        "successRateEjection": {"stdevFactor": 1000}, "failurePercentageEjection": {"threshold": 50},"#,
    );
    let expected = OutlierDetection {
        interval: Duration::from_secs(5),
        base_ejection_time: Duration::from_secs(400),
        max_ejection_time: Duration::from_secs(400),
        max_ejection_percent: 50,
        consecutive_failures: 0,
        min_attempt_time: Duration::from_secs(2),
        success_rate: Some(SuccessRate { stdev_factor: 1000, ..SuccessRate::default() }),
        failure_percentage: Some(FailurePercentage { threshold: 50, ..FailurePercentage::default() }),
    };
    assert_eq!(config.outlier_detection, Some(expected));
}

#[test]
fn method_config_applies_to_its_names() {
    let config = read(
        r#"{
            "methodConfig": [
                {"name": [{}], "waitForReady": true},
                {"name": [{"service": "p.S", "method": ""}, {"service": "p.S", "method": "M"}], "timeout": "1.5s",
                 "retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.01s", "maxBackoff": "1s",
                    "backoffMultiplier": 1.5, "retryableStatusCodes": [14, "deadline_exceeded", "CANCELLED"]}},
                {"name": [{"service": "p.T"}],
                 "hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": "0.25s", "nonFatalStatusCodes": ["UNAVAILABLE"]}},
                {"name": [{"service": "p.U"}], "hedgingPolicy": {"maxAttempts": 4}},
                {"timeout": "1s"}
            ],
            "hedgingBudget": {"percent": 7, "burst": 8},
            "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.5},
            "healthCheckConfig": {"serviceName": "p.S"}
        }"#,
    );
    let retry = RetryPolicy {
        max_attempts: 3,
        initial_backoff: Duration::from_millis(10),
        max_backoff: Duration::from_secs(1),
        backoff_multiplier: 1.5,
        retryable_status_codes: [Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled].into(),
    };
    let method = MethodConfig {
        timeout: Some(Duration::from_millis(1500)),
        wait_for_ready: None,
        retry_policy: Some(retry),
        hedging_policy: None,
    };
    let hedging =
        |hedging_policy| MethodConfig { hedging_policy: Some(hedging_policy), ..Default::default() };
    let at_once = HedgingPolicy {
        max_attempts: 4,
        hedging_delay: Duration::ZERO,
        non_fatal_status_codes: StatusCodes::default(),
    };
    let expected = ServiceConfig::default()
        .method(MethodName::Default, MethodConfig { wait_for_ready: Some(true), ..Default::default() })
        .method(MethodName::Service("p.S".into()), method.clone())
        .method(MethodName::Method("p.S".into(), "M".into()), method)
        .method(MethodName::Service("p.T".into()), hedging(HedgingPolicy::default()))
        .method(MethodName::Service("p.U".into()), hedging(at_once))
        .hedging_budget(HedgingBudget { percent: 7, burst: 8 })
        .retry_throttling(RetryThrottling { max_tokens: 10, token_ratio: 0.5 })
        .health_check_service("p.S");
    assert_eq!(config, expected);
}

/// The list has each config on one line, and the beginning of its error on the next.
#[test]
fn error_names_the_field_and_the_problem() {
    let lines: Vec<_> = include_str!("invalid_configs.txt").lines().collect();
    assert!(lines.len() > 80);
    for refusal in lines.chunks(2) {
        let error = refusal[0].parse::<ServiceConfig>().expect_err(refusal[0]).to_string();
        let message = error.strip_prefix("the service config is invalid: ").unwrap();
        assert!(message.starts_with(refusal[1]), "{}\n{message}", refusal[0]);
    }
}

#[test]
fn duration_in_protobuf_json_is_parsed() {
    let timeout = |text: &str| {
        let json = format!(r#"{{"methodConfig": [{{"name": [{{}}], "timeout": "{text}"}}]}}"#);
        json.parse::<ServiceConfig>().ok().map(|config| config.methods[0].1.timeout.unwrap())
    };
    for (text, expected) in [
        ("0s", Duration::ZERO),
        ("1s", Duration::from_secs(1)),
        ("1.5s", Duration::from_millis(1500)),
        ("0.000000001s", Duration::from_nanos(1)),
        ("315576000000s", Duration::from_secs(315_576_000_000)),
    ] {
        assert_eq!(timeout(text), Some(expected), "{text}");
    }
    for text in
        ["", "s", "1", ".5s", "1.s", "+1s", "-1s", "1.0000000001s", "315576000001s", "1e3s", "1 s", "NaNs"]
    {
        assert_eq!(timeout(text), None, "{text}");
    }
}

#[test]
fn deeply_nested_config_is_an_error() {
    let json = r#"[{"random_subsetting": {"subsetSize": 1, "childPolicy": "#.repeat(10_000);
    let error = format!(r#"{{"loadBalancingConfig": {json}"#).parse::<ServiceConfig>().unwrap_err();
    assert!(error.to_string().contains("recursion limit"), "{error}");
}
