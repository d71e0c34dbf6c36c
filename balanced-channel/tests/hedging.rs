//! Hedging: further attempts while the first one continues (gRFC A6, "Hedging Policy").

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod backend;
mod scripted_server;

use std::{collections::BTreeMap, time::Duration};

use backend::{Backend, call, call_within, list, ready, until};
use balanced_channel::{Builder, Channel, HedgingBudget, HedgingPolicy, Keepalive, RetryPolicy};
use bytes::Bytes;
use h2::Reason;
use scripted_server::{
    MESSAGE, ScriptedResponse, ScriptedServer, TEST_TIMEOUT, request, send, unary, upload,
};
use tokio::{sync::mpsc, time::Instant};
use tonic::Code;

/// The delay before a hedge.
const DELAY: Duration = Duration::from_millis(50);
/// A budget that never limits the hedges of a test.
const ENOUGH: HedgingBudget = HedgingBudget { percent: 100, burst: 1000 };

fn policy(max_attempts: u32) -> HedgingPolicy {
    HedgingPolicy { max_attempts, hedging_delay: DELAY, ..HedgingPolicy::default() }
}

fn to(servers: &[&ScriptedServer]) -> Builder {
    let addresses: Vec<_> = servers.iter().map(|server| server.address.to_string()).collect();
    Channel::builder(format!("ipv4:{}", addresses.join(","))).hedging_budget(ENOUGH).call_metrics(true)
}

fn hedges(channel: &Channel) -> u64 {
    channel.snapshot().retries.hedges
}

/// Returns the number of ended attempts by status.
fn ended(channel: &Channel) -> BTreeMap<String, u64> {
    let metrics = channel.metrics();
    let attempts = metrics.iter().find(|metric| metric.name == "grpc.client.attempt.duration").unwrap();
    attempts
        .points
        .iter()
        .map(|point| match &point.value {
            balanced_channel::metrics::Value::Histogram(took) => (point.labels[2].1.clone(), took.count()),
            other => panic!("{other:?} is not a histogram"),
        })
        .collect()
}

#[tokio::test]
async fn slow_attempt_continues_and_loses_to_a_faster_hedge() {
    let server = ScriptedServer::start(|number| match number {
        0 => ScriptedResponse::Begin,
        1 => ScriptedResponse::Silence,
        _ => ScriptedResponse::Message(Code::Ok),
    })
    .await;
    let channel = to(&[&server]).hedging_policy(policy(3)).build().unwrap();
    ready(&channel, 1).await;
    // The response has begun, so the call is committed and not hedged.
    let call = send(&channel, request(&[("grpc-timeout", "200m")], http_body_util::Full::from(MESSAGE)));
    assert_eq!(call.await.code, Code::DeadlineExceeded);
    assert_eq!(hedges(&channel), 0);

    assert_eq!(unary(&channel).await.code, Code::Ok);
    assert_eq!(hedges(&channel), 1);
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    assert_eq!(requests[1].headers.get("grpc-previous-rpc-attempts"), None);
    assert_eq!(requests[2].headers["grpc-previous-rpc-attempts"], "1");
    until("the end of the attempt that lost", || {
        (ended(&channel).get("CANCELLED") == Some(&1)).then_some(())
    })
    .await;
    assert_eq!(ended(&channel)["OK"], 1);
    let metrics = channel.metrics();
    let hedged = metrics.iter().find(|metric| metric.name == "grpc.client.call.hedges").unwrap();
    assert!(matches!(&hedged.points[0].value, balanced_channel::metrics::Value::Histogram(hedges)
        if hedges.count() == 1 && hedges.sum == 1.0));
}

#[tokio::test]
async fn first_attempt_may_still_win() {
    let silent = ScriptedServer::always(ScriptedResponse::Silence).await;
    let backend = Backend::start();
    let target = format!("ipv4:{},{}", backend.address, silent.address);
    let channel = Channel::builder(target).hedging_policy(policy(2)).hedging_budget(ENOUGH).build().unwrap();
    ready(&channel, 2).await;
    // One call starts at the slow backend with a hedge at the silent one; for the second call it is the reverse.
    for _ in 0..2 {
        assert_eq!(call(&channel, "150").await.unwrap(), backend.address.to_string());
    }
    assert_eq!(hedges(&channel), 2);
}

#[tokio::test]
async fn non_fatal_failure_starts_the_next_attempt_at_once_and_a_fatal_one_ends_the_call() {
    let server = ScriptedServer::start(|number| match number {
        0 | 1 => ScriptedResponse::Status(Code::Unavailable),
        2 => ScriptedResponse::Message(Code::Ok),
        _ => ScriptedResponse::Status(Code::Internal),
    })
    .await;
    let patient = HedgingPolicy { hedging_delay: TEST_TIMEOUT, ..policy(4) };
    let channel = to(&[&server]).hedging_policy(patient).build().unwrap();
    assert_eq!(unary(&channel).await.code, Code::Ok);
    assert_eq!((server.requests().len(), hedges(&channel)), (3, 2));
    assert_eq!(unary(&channel).await.code, Code::Internal);
    assert_eq!((server.requests().len(), hedges(&channel)), (4, 2));
}

#[tokio::test]
async fn last_failure_is_the_result_when_every_attempt_fails() {
    let server = ScriptedServer::always(ScriptedResponse::Status(Code::Unavailable)).await;
    let channel = to(&[&server]).hedging_policy(policy(3)).build().unwrap();
    assert_eq!(unary(&channel).await.code, Code::Unavailable);
    assert_eq!((server.requests().len(), hedges(&channel)), (3, 2));
    let unreachable =
        Channel::builder(format!("ipv4:{}", backend::unused_address())).hedging_policy(policy(3));
    let channel = unreachable.build().unwrap();
    assert_eq!(unary(&channel).await.code, Code::Unavailable);
    assert_eq!(hedges(&channel), 0, "there is no other connection either");
}

#[tokio::test]
async fn pushback_delays_or_forbids_the_next_attempt() {
    let server = ScriptedServer::start(|number| match number {
        0 => ScriptedResponse::Pushback("120"),
        1 => ScriptedResponse::Message(Code::Ok),
        _ => ScriptedResponse::Pushback("-1"),
    })
    .await;
    let channel = to(&[&server]).hedging_policy(policy(3)).build().unwrap();
    assert_eq!(unary(&channel).await.code, Code::Ok);
    let requests = server.requests();
    assert!(requests[1].at - requests[0].at >= Duration::from_millis(120));
    assert_eq!(unary(&channel).await.code, Code::Unavailable);
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn slow_pool_gets_no_more_hedges_than_the_budget_allows() {
    let backends = Backend::some(3);
    let budget = HedgingBudget { percent: 10, burst: 2 };
    let channel =
        Channel::builder(list(&backends)).hedging_policy(policy(4)).hedging_budget(budget).build().unwrap();
    ready(&channel, 3).await;
    for _ in 0..5 {
        let calls = (0..10).map(|_| call(&channel, "120"));
        futures_util::future::join_all(calls).await.into_iter().for_each(|called| drop(called.unwrap()));
    }
    let attempts: u64 = backends.iter().map(Backend::calls).sum();
    // The budget allows a burst of two hedges, and a tenth of fifty calls.
    assert!((52..=57).contains(&attempts), "{attempts} attempts of 50 calls");
    assert_eq!(attempts - 50, hedges(&channel));
    assert!(channel.snapshot().subchannels.iter().all(|subchannel| subchannel.ejected_for.is_none()));
}

#[tokio::test]
async fn calls_at_an_unresponsive_peer_are_hedged_without_a_budget() {
    let backends = Backend::some(3);
    let channel = Channel::builder(list(&backends))
        .hedging_policy(policy(2))
        .hedging_budget(HedgingBudget { percent: 0, burst: 0 })
        .keepalive(Keepalive {
            probe_time: Some(Duration::from_millis(300)),
            timeout: Duration::from_millis(300),
            ..Keepalive::default()
        })
        .build()
        .unwrap();
    ready(&channel, 3).await;
    for _ in 0..3 {
        call(&channel, "").await.unwrap();
    }
    let frozen = backends[1].freeze();
    let calls = (0..30).map(|_| call_within(&channel, TEST_TIMEOUT));
    for answered_by in futures_util::future::join_all(calls).await {
        assert_ne!(answered_by.unwrap(), backends[1].address.to_string());
    }
    assert_eq!(hedges(&channel), 10, "a third of the calls was at the unresponsive peer");
    let silent = |channel: &Channel| channel.snapshot().subchannels.iter().filter(|one| one.silent).count();
    assert_eq!(silent(&channel), 1);
    // Calls avoid the peer now, so no further call waits.
    for _ in 0..10 {
        call(&channel, "").await.unwrap();
    }
    assert_eq!(hedges(&channel), 10);
    drop(frozen);
    until("its return", || (silent(&channel) == 0).then_some(())).await;
}

#[tokio::test]
async fn throttled_channel_makes_no_hedges() {
    let server = ScriptedServer::start(|number| match number {
        0..2 => ScriptedResponse::Status(Code::Unavailable),
        _ => ScriptedResponse::Silence,
    })
    .await;
    let throttling = balanced_channel::RetryThrottling { max_tokens: 2, token_ratio: 0.1 };
    let channel = to(&[&server]).hedging_policy(policy(5)).retry_throttling(throttling).build().unwrap();
    assert_eq!(unary(&channel).await.code, Code::Unavailable);
    // One of two tokens is left, which is not more than half of them.
    assert_eq!((server.requests().len(), hedges(&channel)), (1, 0));
    let call = send(&channel, request(&[("grpc-timeout", "300m")], http_body_util::Full::from(MESSAGE)));
    assert_eq!(call.await.code, Code::Unavailable);
    let call = send(&channel, request(&[("grpc-timeout", "300m")], http_body_util::Full::from(MESSAGE)));
    assert_eq!(call.await.code, Code::DeadlineExceeded);
    assert_eq!(hedges(&channel), 0);
}

#[tokio::test]
async fn request_that_is_still_being_sent_is_not_hedged_for_slowness() {
    let server = ScriptedServer::always(ScriptedResponse::Echo).await;
    let channel = to(&[&server]).hedging_policy(policy(2)).build().unwrap();
    ready(&channel, 1).await;
    let (pieces, body) = mpsc::unbounded_channel();
    let call = tokio::spawn({
        let channel = channel.clone();
        async move { send(&channel, request(&[], upload(body))).await }
    });
    pieces.send(Bytes::from_static(MESSAGE)).unwrap();
    tokio::time::sleep(3 * DELAY).await;
    drop(pieces);
    assert_eq!(call.await.unwrap().code, Code::Ok);
    assert_eq!((server.requests().len(), hedges(&channel)), (1, 0));
}

#[tokio::test]
async fn deadline_ends_all_attempts() {
    let server = ScriptedServer::always(ScriptedResponse::Silence).await;
    let channel = to(&[&server]).hedging_policy(policy(2)).build().unwrap();
    ready(&channel, 1).await;
    let begun = Instant::now();
    let late = send(&channel, request(&[("grpc-timeout", "200m")], http_body_util::Full::from(MESSAGE)));
    assert_eq!(late.await.code, Code::DeadlineExceeded);
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!(hedges(&channel), 1);
    let late = send(&channel, request(&[("grpc-timeout", "20m")], http_body_util::Full::from(MESSAGE)));
    assert_eq!(late.await.code, Code::DeadlineExceeded);
    assert_eq!(hedges(&channel), 1);
}

#[tokio::test]
async fn unprocessed_attempt_is_retried_transparently() {
    let server = ScriptedServer::start(|number| match number {
        0..3 => ScriptedResponse::Reset(Reason::REFUSED_STREAM),
        _ => ScriptedResponse::Message(Code::Ok),
    })
    .await;
    let channel = to(&[&server]).hedging_policy(policy(2)).build().unwrap();
    assert_eq!(unary(&channel).await.code, Code::Ok);
    let retries = channel.snapshot().retries;
    assert_eq!((retries.transparent, retries.hedges), (3, 0));
    assert_eq!(ended(&channel), BTreeMap::from([("OK".to_owned(), 1), ("UNAVAILABLE".to_owned(), 3)]));
    let metrics = channel.metrics();
    let resent = metrics.iter().find(|metric| metric.name == "grpc.client.call.transparent_retries").unwrap();
    assert!(matches!(&resent.points[0].value, balanced_channel::metrics::Value::Histogram(retries)
        if retries.count() == 1 && retries.sum == 3.0));
}

#[tokio::test]
async fn method_with_two_policies_is_an_error() {
    let built =
        Channel::builder("ipv4:127.0.0.1:1").hedging_policy(policy(2)).retry_policy(RetryPolicy::default());
    let error = built.build().unwrap_err().to_string();
    assert!(error.contains("hedgingPolicy"), "{error}");
}
