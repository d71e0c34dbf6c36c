//! Retries under a policy (gRFC A6): retried codes, number, timing, endpoints and throttling.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod backend;
mod scripted_server;

use std::time::Duration;

use backend::{Backend, call, endpoints, list, manual_channel_with, ready, until};
use balanced_channel::{Builder, Channel, RetryPolicy, RetryThrottling};
use h2::Reason;
use http_body_util::Full;
use scripted_server::{MESSAGE, ScriptedResponse, ScriptedServer, request, send, unary};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Code;

const ATTEMPTS: &str = "grpc-previous-rpc-attempts";

/// Returns a policy with short waits.
fn soon(max_attempts: u32) -> RetryPolicy {
    RetryPolicy { max_attempts, initial_backoff: Duration::from_millis(1), ..RetryPolicy::default() }
}

fn to(servers: &[&ScriptedServer]) -> Builder {
    let list: Vec<_> = servers.iter().map(|server| server.address.to_string()).collect();
    Channel::builder(format!("ipv4:{}", list.join(",")))
}

#[tokio::test]
async fn unavailable_call_is_retried_on_another_endpoint_and_reports_its_attempts() {
    let bad = ScriptedServer::always(ScriptedResponse::Status(Code::Unavailable)).await;
    let good = ScriptedServer::always(ScriptedResponse::Message(Code::Ok)).await;
    let channel = to(&[&bad, &good]).retry_policy(soon(2)).build().unwrap();
    ready(&channel, 2).await;
    for _ in 0..10 {
        let got = unary(&channel).await;
        assert_eq!((got.code, &got.body[..]), (Code::Ok, MESSAGE));
    }
    // One retry is enough, because it goes to another endpoint.
    let (bad, good) = (bad.requests(), good.requests());
    assert_eq!(good.len(), 10);
    assert!((1..=10).contains(&bad.len()) && bad.iter().all(|seen| !seen.headers.contains_key(ATTEMPTS)));
    assert_eq!(good.iter().filter(|seen| seen.headers.contains_key(ATTEMPTS)).count(), bad.len());

    let flaky = ScriptedServer::start(|number| match number {
        0 | 1 => ScriptedResponse::Status(Code::Unavailable),
        _ => ScriptedResponse::Message(Code::Ok),
    })
    .await;
    let got = unary(&to(&[&flaky]).retry_policy(soon(3)).build().unwrap()).await;
    assert_eq!((got.code, &got.headers[ATTEMPTS]), (Code::Ok, &"2".parse().unwrap()));
    let seen = flaky.requests();
    assert_eq!(
        (&seen[1].headers[ATTEMPTS], &seen[2].headers[ATTEMPTS]),
        (&"1".parse().unwrap(), &"2".parse().unwrap())
    );
    assert!(seen.iter().all(|seen| seen.body == MESSAGE));
}

#[tokio::test]
async fn only_codes_of_the_policy_are_retried_up_to_the_maximum() {
    for (answer, attempts, code) in [
        (ScriptedResponse::Status(Code::Unavailable), 3, Code::Unavailable),
        (ScriptedResponse::Reset(Reason::ENHANCE_YOUR_CALM), 3, Code::ResourceExhausted),
        // A response of a proxy counts as the code that its HTTP status is mapped to.
        (ScriptedResponse::Http(503), 3, Code::Unavailable),
        (ScriptedResponse::Http(404), 1, Code::Unimplemented),
        (ScriptedResponse::Status(Code::Internal), 1, Code::Internal),
        (ScriptedResponse::Reset(Reason::INTERNAL_ERROR), 1, Code::Internal),
        (ScriptedResponse::Status(Code::Ok), 1, Code::Ok),
        // A response that has begun is final, even if it fails.
        (ScriptedResponse::Message(Code::Unavailable), 1, Code::Unavailable),
        (ScriptedResponse::Half, 1, Code::Internal),
    ] {
        let server = ScriptedServer::always(answer).await;
        let policy = RetryPolicy {
            retryable_status_codes: [Code::Unavailable, Code::ResourceExhausted].into(),
            ..soon(3)
        };
        let got = unary(&to(&[&server]).retry_policy(policy).build().unwrap()).await;
        assert_eq!((server.requests().len(), got.code), (attempts, code), "{answer:?}: {got:?}");
        let got = unary(&to(&[&server]).build().unwrap()).await;
        assert_eq!((server.requests().len(), got.code), (attempts + 1, code), "{answer:?} without a policy");
    }
}

#[tokio::test]
async fn pushback_delays_or_forbids_the_retry() {
    const LATER: Duration = Duration::from_millis(50);
    let never = RetryPolicy {
        initial_backoff: Duration::from_secs(3600),
        max_backoff: Duration::from_secs(3600),
        ..soon(2)
    };
    let server = ScriptedServer::start(|number| match number {
        0 => ScriptedResponse::Pushback("50"),
        _ => ScriptedResponse::Message(Code::Ok),
    })
    .await;
    assert_eq!(unary(&to(&[&server]).retry_policy(never).build().unwrap()).await.code, Code::Ok);
    let seen = server.requests();
    assert!(seen[1].at - seen[0].at >= LATER);

    for value in ["-1", "soon"] {
        let server = ScriptedServer::always(ScriptedResponse::Pushback(value)).await;
        assert_eq!(
            unary(&to(&[&server]).retry_policy(soon(5)).build().unwrap()).await.code,
            Code::Unavailable
        );
        assert_eq!(server.requests().len(), 1, "{value}");
    }
}

#[tokio::test]
async fn throttle_stops_retries_until_enough_calls_succeed() {
    // The server fails its first seven requests, and one more after ten successes.
    let server = ScriptedServer::start(|number| match number {
        0..7 | 17 => ScriptedResponse::Status(Code::Unavailable),
        _ => ScriptedResponse::Message(Code::Ok),
    })
    .await;
    let throttling = RetryThrottling { max_tokens: 10, token_ratio: 0.5 };
    let channel = to(&[&server]).retry_policy(soon(5)).retry_throttling(throttling).build().unwrap();
    // Five attempts take five of ten tokens, after which calls are not retried.
    assert_eq!((unary(&channel).await.code, server.requests().len()), (Code::Unavailable, 5));
    assert_eq!((unary(&channel).await.code, server.requests().len()), (Code::Unavailable, 6));
    assert_eq!((unary(&channel).await.code, server.requests().len()), (Code::Unavailable, 7));
    // Three are left. Ten successes add five, and the next failure takes one: seven.
    for _ in 0..10 {
        assert_eq!(unary(&channel).await.code, Code::Ok);
    }
    assert_eq!((unary(&channel).await.code, server.requests().len()), (Code::Ok, 19));
    let retries = channel.snapshot().retries;
    assert_eq!((retries.by_policy, retries.transparent, retries.tokens), (5, 0, Some(7.5)));
}

fn micros(timeout: &str) -> u64 {
    match timeout.split_at(timeout.len() - 1) {
        (digits, "u") => digits.parse().unwrap(),
        (digits, "m") => digits.parse::<u64>().unwrap() * 1000,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn deadline_limits_all_attempts() {
    let server = ScriptedServer::start(|number| match number {
        0 => ScriptedResponse::Pushback("50"),
        _ => ScriptedResponse::Silence,
    })
    .await;
    let channel = to(&[&server]).retry_policy(soon(5)).build().unwrap();
    let got = send(&channel, request(&[("grpc-timeout", "300m")], Full::from(MESSAGE))).await;
    assert_eq!(got.code, Code::DeadlineExceeded, "{got:?}");
    let seen = server.requests();
    let left = |number: usize| micros(seen[number].headers["grpc-timeout"].to_str().unwrap());
    assert!(seen.len() == 2 && left(0) <= 300_000 && left(1) + 50_000 <= left(0), "{seen:?}");
    until("the second attempt to be cancelled", || server.requests()[1].reset).await;

    // There is no wait for a retry that would start after the deadline.
    let server = ScriptedServer::always(ScriptedResponse::Pushback("3600000")).await;
    let channel = to(&[&server]).retry_policy(soon(5)).build().unwrap();
    let got = send(&channel, request(&[("grpc-timeout", "1H")], Full::from(MESSAGE))).await;
    assert_eq!((got.code, server.requests().len()), (Code::Unavailable, 1));
}

#[tokio::test]
async fn call_without_a_connection_is_retried() {
    let backend = Backend::start();
    let policy = RetryPolicy {
        max_attempts: 2,
        initial_backoff: Duration::from_millis(500),
        ..RetryPolicy::default()
    };
    let (channel, updates) = manual_channel_with(|builder| builder.retry_policy(policy)).await;
    updates.publish([]);
    assert_eq!(call(&channel, "").await.unwrap_err().code(), Code::Unavailable);
    let mut waiting = Box::pin(call(&channel, ""));
    assert!(futures_util::poll!(&mut waiting).is_pending(), "it waits for its second attempt");
    updates.publish(endpoints([&backend]));
    assert_eq!(waiting.await.unwrap(), backend.address.to_string());
}

#[tokio::test]
async fn kill_and_restart_under_load_fail_no_call() {
    const CALLERS: u64 = 64;
    let mut backends = Backend::some(3);
    let channel = Channel::builder(list(&backends)).retry_policy(RetryPolicy::default()).build().unwrap();
    ready(&channel, 3).await;
    let done = CancellationToken::new();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (channel, done) = (channel.clone(), done.clone());
            tokio::spawn(async move {
                while !done.is_cancelled() {
                    call(&channel, "1").await.unwrap();
                }
            })
        })
        .collect();
    until("some calls", || (backends[2].calls() > 300).then_some(())).await;
    let address = backends.pop().unwrap().address;
    let lost = until("lost calls", || {
        let lost = channel.snapshot().subchannels.iter().map(|subchannel| subchannel.failed).sum::<u64>();
        (lost > 0).then_some(lost)
    })
    .await;
    backends.push(Backend::on(address));
    let returned = Instant::now();
    until("calls on the one that returned", || (backends[2].calls() > 300).then_some(())).await;
    done.cancel();
    for caller in callers {
        caller.await.unwrap();
    }
    println!("{lost} attempts were lost; 300 calls were back {:?} after the return", returned.elapsed());
}

#[tokio::test]
async fn invalid_retry_setting_is_named() {
    let error = |builder: Builder| builder.build().unwrap_err().to_string();
    let policy = RetryPolicy { max_attempts: 1, ..RetryPolicy::default() };
    let builder = || Channel::builder("ipv4:127.0.0.1:1");
    assert_eq!(error(builder().retry_policy(policy)), "retryPolicy.maxAttempts is 1; it must be at least 2");
    let throttling = RetryThrottling { max_tokens: 0, ..RetryThrottling::default() };
    assert_eq!(
        error(builder().retry_throttling(throttling)),
        "retryThrottling.maxTokens is 0; it must be from 1 to 1000"
    );
}
