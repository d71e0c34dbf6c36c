//! Attempts that are given up for another one, because no response begins: `perAttemptRecvTimeout`.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod backend;

use std::time::Duration;

use backend::{Backend, call_within, list, ready, until};
use balanced_channel::{Channel, Keepalive, RetryPolicy};
use tokio::time::Instant;
use tonic::Code;

/// An attempt's time, which a stopped backend lets pass and a loaded machine hardly ever does.
const ATTEMPT: Duration = Duration::from_millis(500);
/// A call's time: for as many attempts as there may be, and much more.
const CALL: Duration = Duration::from_secs(30);

fn policy(max_attempts: u32) -> RetryPolicy {
    RetryPolicy {
        max_attempts,
        initial_backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(1),
        retryable_status_codes: [].into(),
        per_attempt_recv_timeout: Some(ATTEMPT),
        ..RetryPolicy::default()
    }
}

fn given_up(channel: &Channel) -> u64 {
    channel.snapshot().retries.by_policy
}

#[tokio::test]
async fn a_stopped_backend_costs_no_call_and_five_attempts() {
    let backends = Backend::some(3);
    let channel = Channel::builder(list(&backends)).retry_policy(policy(4)).build().unwrap();
    ready(&channel, 3).await;
    let _stopped = backends[1].freeze();
    for _ in 0..40 {
        let answered_by = call_within(&channel, CALL).await.unwrap();
        assert_ne!(answered_by, backends[1].address.to_string());
    }
    // The fifth ejects it.
    assert_eq!(given_up(&channel), 5);
}

#[tokio::test]
async fn one_that_was_left_out_for_its_silence_is_back_with_its_first_word() {
    let backends = Backend::some(3);
    let keepalive = Keepalive {
        // After the attempts were given up.
        probe_time: Some(3 * ATTEMPT),
        timeout: Duration::from_millis(200),
        ..Keepalive::default()
    };
    let builder = Channel::builder(list(&backends)).retry_policy(policy(4)).keepalive(keepalive);
    let channel = builder.build().unwrap();
    ready(&channel, 3).await;
    // Each has answered, so nothing that it said at the start is still on its way, as a word after its silence began.
    for _ in 0..3 {
        call_within(&channel, CALL).await.unwrap();
    }
    let stopped = backends[1].freeze();
    let left_out = |channel: &Channel| {
        let one = channel.snapshot().subchannels.into_iter().find(|one| one.address == backends[1].address);
        one.map(|one| (one.ejected_for.is_some(), one.silent)).unwrap()
    };
    let met = (0..15).map(|_| {
        let channel = channel.clone();
        tokio::spawn(async move { call_within(&channel, CALL).await })
    });
    for call in met.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
    assert_eq!(left_out(&channel), (true, false));
    // No call waits there any more, and yet it is asked whether it is there.
    until("its silence", || left_out(&channel).1.then_some(())).await;
    drop(stopped);
    until("its voice", || (left_out(&channel) == (false, false)).then_some(())).await;
    // It may still be at the attempts that were given up, so what it has seen says nothing.
    let mut answered = 0;
    for _ in 0..30 {
        let answered_by = call_within(&channel, CALL).await.unwrap();
        answered += usize::from(answered_by == backends[1].address.to_string());
    }
    assert_eq!(answered, 10);
}

#[tokio::test]
async fn the_last_attempt_is_not_given_up() {
    let backends = Backend::some(1);
    let channel = Channel::builder(list(&backends)).retry_policy(policy(2)).build().unwrap();
    ready(&channel, 1).await;
    let stopped = backends[0].freeze();
    let begun = Instant::now();
    let call = tokio::spawn({
        let channel = channel.clone();
        async move { call_within(&channel, CALL).await }
    });
    // Past the time of both attempts: the second one still waits.
    tokio::time::sleep(3 * ATTEMPT).await;
    assert_eq!((given_up(&channel), call.is_finished()), (1, false));
    drop(stopped);
    call.await.unwrap().unwrap();
    assert!(begun.elapsed() >= 3 * ATTEMPT);
}

#[tokio::test]
async fn a_deadline_before_the_attempts_time_is_told_as_the_deadline() {
    let backends = Backend::some(1);
    let channel = Channel::builder(list(&backends)).retry_policy(policy(4)).build().unwrap();
    ready(&channel, 1).await;
    let _stopped = backends[0].freeze();
    let status = call_within(&channel, ATTEMPT / 2).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("the deadline of 250ms passed"), "{status}");
    assert_eq!(given_up(&channel), 0);
}
