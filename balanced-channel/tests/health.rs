//! Client-side health checking (gRFC A17) against tonic's health service.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod backend;

use std::time::Duration;

use backend::{Backend, ManualResolver, call, endpoints, fails, list, ready, until};
use balanced_channel::{BackoffPolicy, Builder, Channel, Connectivity, PickFirst, SubchannelSnapshot};
use tonic::Code;
use tonic_health::ServingStatus;

/// The server as a whole.
const SERVER: &str = "";

fn watching(backends: &[Backend]) -> Builder {
    let quick = BackoffPolicy { initial: Duration::from_millis(20), ..BackoffPolicy::default() };
    Channel::builder(list(backends)).health_check(SERVER).backoff(quick)
}

async fn report(backend: &Backend, status: ServingStatus) {
    backend.health.as_ref().unwrap().set_service_status(SERVER, status).await;
}

/// Waits until the subchannel of `backend` has this state and health.
async fn wait_for_state(
    channel: &Channel,
    backend: &Backend,
    state: Connectivity,
    health: Option<&str>,
) -> SubchannelSnapshot {
    until(&format!("{state:?}, {health:?}"), || {
        let subchannels = channel.snapshot().subchannels;
        let found = subchannels.into_iter().find(|s| s.address == backend.address);
        found.filter(|s| s.state == state && s.health == health)
    })
    .await
}

#[tokio::test]
async fn calls_go_only_to_serving_servers_and_calls_in_flight_continue() {
    let backends: Vec<_> = (0..3).map(|_| Backend::start_with_health()).collect();
    let channel = watching(&backends).build().unwrap();
    ready(&channel, 3).await;
    let slow: Vec<_> = (0..3)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move { call(&channel, "500").await })
        })
        .collect();
    until("a call on each", || backends.iter().all(|backend| backend.calls() == 1).then_some(())).await;

    report(&backends[1], ServingStatus::NotServing).await;
    let seen =
        wait_for_state(&channel, &backends[1], Connectivity::TransientFailure, Some("NOT_SERVING")).await;
    assert!(seen.last_error.unwrap().contains("NOT_SERVING"));
    for _ in 0..20 {
        call(&channel, "").await.unwrap();
    }
    assert_eq!(backends[1].calls(), 1);
    for call in slow {
        call.await.unwrap().unwrap();
    }

    report(&backends[1], ServingStatus::Serving).await;
    wait_for_state(&channel, &backends[1], Connectivity::Ready, Some("SERVING")).await;
    for _ in 0..30 {
        call(&channel, "").await.unwrap();
    }
    assert_eq!(backends[1].calls(), 11);
}

#[tokio::test]
async fn server_without_the_health_service_is_healthy() {
    let backends = Backend::some(2);
    let channel = watching(&backends).build().unwrap();
    for backend in &backends {
        wait_for_state(&channel, backend, Connectivity::Ready, Some("UNIMPLEMENTED")).await;
    }
    call(&channel, "").await.unwrap();
}

#[tokio::test]
async fn calls_fail_while_no_server_is_serving() {
    let backends: Vec<_> = (0..2).map(|_| Backend::start_with_health()).collect();
    for backend in &backends {
        report(backend, ServingStatus::NotServing).await;
    }
    let channel = watching(&backends).build().unwrap();
    let (code, why) = fails(&channel, "").await;
    assert_eq!(code, Code::Unavailable);
    assert!(why.contains("NOT_SERVING"), "{why}");
    report(&backends[0], ServingStatus::Serving).await;
    wait_for_state(&channel, &backends[0], Connectivity::Ready, Some("SERVING")).await;
    assert_eq!(call(&channel, "").await.unwrap(), backends[0].address.to_string());
}

#[tokio::test]
async fn health_watch_that_ends_is_restarted() {
    let backends = [Backend::start_with_health()];
    let channel = watching(&backends).build().unwrap();
    ready(&channel, 1).await;
    backends[0].health.clone().unwrap().clear_service_status(SERVER).await;
    until("the end of the watch", || {
        let error = channel.snapshot().subchannels[0].last_error.clone();
        error.filter(|error| error.contains("health watch"))
    })
    .await;
    report(&backends[0], ServingStatus::Serving).await;
    wait_for_state(&channel, &backends[0], Connectivity::Ready, Some("SERVING")).await;
    call(&channel, "").await.unwrap();
}

#[tokio::test]
async fn health_watch_does_not_keep_a_draining_connection_open() {
    let mut backends: Vec<_> = (0..2).map(|_| Backend::start_with_health()).collect();
    let (resolver, updates) = ManualResolver::new();
    let channel =
        Channel::builder("dns:///static:1").resolver(resolver).health_check(SERVER).build().unwrap();
    let updates = updates.await.unwrap();
    updates.publish(endpoints(&backends));
    ready(&channel, 2).await;
    // One backend is no longer listed, and the other sends GOAWAY.
    updates.publish(endpoints(&backends[1..]));
    ready(&channel, 1).await;
    for backend in &mut backends {
        backend.drain();
    }
    until("both to end", || backends.iter().all(Backend::has_ended).then_some(())).await;
}

#[tokio::test]
async fn pick_first_does_not_watch_health() {
    let backends = [Backend::start_with_health()];
    report(&backends[0], ServingStatus::NotServing).await;
    let channel = watching(&backends).policy(PickFirst::default()).build().unwrap();
    call(&channel, "").await.unwrap();
}
