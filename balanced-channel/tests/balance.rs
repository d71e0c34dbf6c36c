//! Round robin over the connected endpoints, also while the set of endpoints changes.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod backend;
mod scripted_server;

use std::time::Duration;

use backend::{Backend, call, endpoints, fails, list, manual_channel, ready, until, unused_address};
use balanced_channel::{Channel, Connectivity};
use scripted_server::{ScriptedResponse, ScriptedServer};
use tonic::Code;

#[tokio::test]
async fn calls_are_distributed_to_every_backend_in_turn() {
    let backends = Backend::some(3);
    let channel = Channel::new(list(&backends)).unwrap();
    ready(&channel, 3).await;
    let mut last = Vec::new();
    for _ in 0..10 {
        let mut turn = Vec::new();
        for _ in 0..3 {
            turn.push(call(&channel, "").await.unwrap());
        }
        assert!(last.is_empty() || last == turn, "the order stays");
        last = turn;
    }
    assert!(backends.iter().all(|backend| backend.calls() == 10));
}

#[tokio::test]
async fn calls_wait_for_the_first_connection() {
    let (channel, updates) = manual_channel().await;
    let waiting = tokio::spawn({
        let channel = channel.clone();
        async move { call(&channel, "").await }
    });
    tokio::task::yield_now().await;
    let backend = Backend::start();
    updates.publish(endpoints([&backend]));
    assert_eq!(waiting.await.unwrap().unwrap(), backend.address.to_string());
}

#[tokio::test]
async fn unreachable_backend_fails_no_call() {
    let backends = Backend::some(2);
    let channel = Channel::new(format!("{},{}", list(&backends), unused_address())).unwrap();
    for _ in 0..1000 {
        call(&channel, "").await.unwrap();
    }
}

#[tokio::test]
async fn calls_without_any_backend_fail_at_once_with_the_reason() {
    let address = unused_address();
    let channel = Channel::new(format!("ipv4:{address}")).unwrap();
    let (code, message) = fails(&channel, "").await;
    assert_eq!(code, Code::Unavailable);
    assert!(message.contains("Connection refused") && message.contains(&address.to_string()), "{message}");

    let backend = Backend::on(address);
    until("a call that succeeds", || (channel.snapshot().ready() == 1).then_some(())).await;
    assert_eq!(call(&channel, "").await.unwrap(), backend.address.to_string());
}

#[tokio::test]
async fn empty_answer_keeps_only_connected_endpoints() {
    let (channel, updates) = manual_channel().await;
    updates.publish([]);
    assert_eq!(fails(&channel, "").await.0, Code::Unavailable);

    let backend = Backend::start();
    updates.publish([backend.address.into(), unused_address().into()]);
    until("the backend", || (channel.snapshot().ready() == 1).then_some(())).await;
    updates.publish([]);
    ready(&channel, 1).await;
    call(&channel, "").await.unwrap();

    drop(backend);
    until("an empty pool", || channel.snapshot().subchannels.is_empty().then_some(())).await;
    assert_eq!(fails(&channel, "").await.0, Code::Unavailable);
}

#[tokio::test]
async fn new_endpoint_is_connected_at_once_and_removed_endpoint_is_drained() {
    let backends = Backend::some(4);
    let (channel, updates) = manual_channel().await;
    updates.publish(endpoints(&backends[..3]));
    ready(&channel, 3).await;
    let slow = tokio::spawn({
        let channel = channel.clone();
        async move { futures_util::future::join_all((0..3).map(|_| call(&channel, "300"))).await }
    });
    until("three calls in flight", || {
        (channel.snapshot().subchannels.iter().map(|s| s.in_flight).sum::<u64>() == 3).then_some(())
    })
    .await;

    updates.publish(endpoints(&backends[3..]));
    ready(&channel, 1).await;
    assert_eq!(call(&channel, "").await.unwrap(), backends[3].address.to_string());
    assert!(slow.await.unwrap().iter().all(Result::is_ok), "calls in flight are finished");
}

#[tokio::test]
async fn unreachable_new_endpoints_do_not_replace_connected_ones() {
    let backend = Backend::start();
    let (channel, updates) = manual_channel().await;
    updates.publish(endpoints([&backend]));
    ready(&channel, 1).await;
    updates.publish([unused_address().into()]);
    until("the new endpoint to fail", || {
        let snapshot = channel.snapshot();
        snapshot.subchannels.iter().any(|s| s.state == Connectivity::TransientFailure).then_some(())
    })
    .await;
    call(&channel, "").await.unwrap();
}

#[tokio::test]
async fn draining_backend_under_load_fails_no_call() {
    let mut backends = Backend::some(3);
    let channel = Channel::new(list(&backends)).unwrap();
    ready(&channel, 3).await;
    let callers: Vec<_> = (0..32)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move {
                for _ in 0..300 {
                    call(&channel, "1").await.unwrap();
                }
            })
        })
        .collect();
    until("some calls", || (backends[0].calls() > 500).then_some(())).await;
    backends[0].drain();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(backends.iter().map(Backend::calls).sum::<u64>(), 32 * 300);
}

#[tokio::test]
async fn deadline_limits_the_wait_and_the_response() {
    // tonic's server also ends calls at their deadline and might be first, so this one never responds.
    let silent = ScriptedServer::always(ScriptedResponse::Silence).await;
    for target in [format!("ipv4:{}", silent.address), "dns://127.0.0.1:1/nobody-answers:1".to_owned()] {
        let channel = Channel::builder(target).wait_for_ready(true).build().unwrap();
        let mut request = tonic::Request::new(proto::hello::Greeting { name: "60000".into() });
        request.set_timeout(Duration::from_millis(50));
        let status =
            proto::hello::hello_client::HelloClient::new(channel).say_hello(request).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        assert!(status.message().contains("50ms"), "{status}");
    }
}

#[tokio::test]
async fn status_of_the_server_arrives_unchanged() {
    let backend = Backend::start();
    let channel = Channel::new(list([&backend])).unwrap();
    assert_eq!(fails(&channel, "fail it is Monday").await, (Code::FailedPrecondition, "it is Monday".into()));
    let snapshot = channel.snapshot();
    assert_eq!((snapshot.subchannels[0].failed, snapshot.subchannels[0].in_flight), (1, 0));
}

#[tokio::test]
async fn kill_fails_at_most_calls_in_flight_and_restarted_backend_is_used() {
    const CALLERS: u64 = 16;
    let mut backends = Backend::some(3);
    let channel = Channel::new(list(&backends)).unwrap();
    ready(&channel, 3).await;
    let killed = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (channel, killed) = (channel.clone(), killed.clone());
            tokio::spawn(async move {
                let (mut failed, mut after) = (0, 0);
                while after < 100 {
                    failed += u64::from(call(&channel, "1").await.is_err());
                    after += u64::from(killed.load(std::sync::atomic::Ordering::Relaxed));
                }
                failed
            })
        })
        .collect();
    until("some calls", || (backends[2].calls() > 100).then_some(())).await;
    let lost = backends.pop().unwrap();
    let address = lost.address;
    drop(lost);
    killed.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut failed = 0;
    for caller in callers {
        failed += caller.await.unwrap();
    }
    assert!(failed <= CALLERS, "{failed} calls failed, {CALLERS} were in flight");

    backends.push(Backend::on(address));
    ready(&channel, 3).await;
    for _ in 0..30 {
        call(&channel, "").await.unwrap();
    }
    assert_eq!(backends[2].calls(), 10);
}
