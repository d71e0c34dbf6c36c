//! SIGTERM: to a backend under load, and to the gateway with a slow call in flight.

use std::net::SocketAddr;

use balanced_channel::Channel;
use service::testing::{Client, Signal, bounded};

use super::{
    callers::{CALLERS, Load, over, ready},
    pods::{Pods, name, program},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backend_on_sigterm_fails_no_call() {
    let mut pods = Pods::start(3).await;
    let channel = Channel::new(pods.target()).unwrap();
    ready(&channel, 3).await;
    let load = Load::start(&over(&channel));
    load.calls(300).await;

    let stopping = pods.take(3);
    stopping.signal(Signal::TERM);
    let exit = stopping.exit().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    // The last answers of the backend may not be counted yet.
    let gone = load.calls(2 * CALLERS as u64).await;
    let after = load.calls(300).await;
    assert_eq!(after.failed, Vec::<String>::new());
    assert_eq!(after.answered[&name(3)], gone.answered[&name(3)], "who ended cannot have answered");
}

#[tokio::test]
async fn gateway_on_sigterm_answers_the_call_in_flight() {
    let slow = program("hellogrpc", &[("RESPONSE_DELAY", "1s"), ("POD_NAME", "slow")]).await;
    let target = format!("ipv4:{}", slow.listen);
    let env = [("GRPC_TARGET", target.as_str()), ("UPSTREAM_TIMEOUT", "20s"), ("POD_NAME", "gw")];
    let mut gateway = program("helloserve", &env).await;

    let mut client = Client::connect(gateway.listen).await;
    client.send_get("/hellogrpc?name=Ann").await;
    in_hand(gateway.admin).await;
    gateway.signal(Signal::TERM);
    gateway.logs("closing").await;
    let answer = bounded(client.read_response()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        r#"{"name":"Ann","version":"v1-helloserve","hostname":"gw","response":{"name":"Ann","version":"v1-hellogrpc","hostname":"slow"}}"#
    );
    assert_eq!(gateway.exit().await.code, Some(0));
}

/// Waits until the gateway has a call to `/hellogrpc` in flight.
async fn in_hand(admin: SocketAddr) {
    let mut client = Client::connect(admin).await;
    loop {
        let metrics = client.get("/metrics").await.body;
        let gauge = metrics
            .lines()
            .find(|line| line.starts_with("http_requests_in_flight") && line.contains("/hellogrpc"));
        if gauge.is_some_and(|line| line.ends_with(" 1")) {
            return;
        }
        tokio::task::yield_now().await;
    }
}
