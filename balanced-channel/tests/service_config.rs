//! A service config in JSON, and what it changes for real calls.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod backend;
mod scripted_server;

use backend::{Backend, call, list, nowhere, ready, until};
use balanced_channel::{Channel, MethodConfig, MethodName, Policy, ServiceConfig};
use scripted_server::{ScriptedResponse, ScriptedServer, unary};
use tonic::Code;

#[tokio::test]
async fn the_policy_and_the_deadline_are_the_configs() {
    let backends = Backend::some(2);
    let config: ServiceConfig = r#"{
        "loadBalancingConfig": [{"pick_first": {}}],
        "methodConfig": [
            {"name": [{"service": "hello.Hello", "method": "SayHello"}], "timeout": "1s"},
            {"name": [{}], "timeout": "60s"}
        ]
    }"#
    .parse()
    .unwrap();
    let channel = Channel::builder(list(&backends)).service_config(config.clone()).build().unwrap();
    ready(&channel, 1).await;
    for _ in 0..4 {
        assert_eq!(call(&channel, "").await.unwrap(), backends[0].address.to_string());
    }
    // A server that ends the call at its deadline too, as tonic's does, might be first.
    let silent = ScriptedServer::always(ScriptedResponse::Silence).await;
    let channel =
        Channel::builder(format!("ipv4:{}", silent.address)).service_config(config).build().unwrap();
    let got = unary(&channel).await;
    assert_eq!(got.code, Code::DeadlineExceeded, "{}", got.message);
}

#[tokio::test]
async fn what_is_set_later_wins() {
    let backends = Backend::some(2);
    let config: ServiceConfig = r#"{"loadBalancingConfig": [{"pick_first": {}}]}"#.parse().unwrap();
    let builder = Channel::builder(list(&backends)).service_config(config);
    let channel = builder.policy(Policy::RoundRobin).build().unwrap();
    ready(&channel, 2).await;
    assert_ne!(call(&channel, "").await.unwrap(), call(&channel, "").await.unwrap());
}

#[tokio::test]
async fn a_method_waits_for_a_connection_if_its_config_says_so() {
    let address = nowhere();
    let waits = MethodConfig { wait_for_ready: Some(true), ..MethodConfig::default() };
    let config = ServiceConfig::default().method(MethodName::Service("hello.Hello".into()), waits);
    let channel = Channel::builder(format!("ipv4:{address}")).service_config(config).build().unwrap();
    let waiting = tokio::spawn({
        let channel = channel.clone();
        async move { call(&channel, "").await }
    });
    until("a failure to connect", || {
        channel.snapshot().subchannels.iter().find_map(|s| s.last_error.clone())
    })
    .await;
    assert!(!waiting.is_finished());
    let _backend = Backend::on(address);
    assert_eq!(waiting.await.unwrap().unwrap(), address.to_string());
}
