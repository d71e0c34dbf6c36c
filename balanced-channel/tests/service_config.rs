//! The effects of a service config in JSON on real calls.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod backend;
mod scripted_server;

use backend::{Backend, call, list, ready, until, unused_address};
use balanced_channel::{Channel, MethodConfig, MethodName, Policy, ServiceConfig};
use scripted_server::{ScriptedResponse, ScriptedServer, unary};
use tonic::Code;

#[tokio::test]
async fn service_config_sets_policy_and_deadline() {
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
    // tonic's server also ends calls at their deadline and might be first, so this one never responds.
    let silent = ScriptedServer::always(ScriptedResponse::Silence).await;
    let channel =
        Channel::builder(format!("ipv4:{}", silent.address)).service_config(config).build().unwrap();
    let got = unary(&channel).await;
    assert_eq!(got.code, Code::DeadlineExceeded, "{}", got.message);
}

#[tokio::test]
async fn later_setting_overrides_the_earlier_one() {
    let backends = Backend::some(2);
    let config: ServiceConfig = r#"{"loadBalancingConfig": [{"pick_first": {}}]}"#.parse().unwrap();
    let builder = Channel::builder(list(&backends)).service_config(config);
    let channel = builder.policy(Policy::RoundRobin).build().unwrap();
    ready(&channel, 2).await;
    assert_ne!(call(&channel, "").await.unwrap(), call(&channel, "").await.unwrap());
}

#[tokio::test]
async fn wait_for_ready_method_waits_for_a_connection() {
    let address = unused_address();
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
