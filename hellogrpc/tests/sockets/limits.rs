//! Limits of calls.

use std::{num::NonZeroUsize, time::Duration};

use hellogrpc::Config;
use service::{grpc::ServerConfig, testing::bounded};
use tokio::time::{self, Instant};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{Running, greeting, http2_frames::FrameStream, introduction};

const HOUR: Duration = Duration::from_secs(3600);

fn limit(limit: usize) -> NonZeroUsize {
    NonZeroUsize::new(limit).unwrap()
}

#[tokio::test]
async fn calls_above_the_limit_are_rejected_and_health_checks_are_not() {
    let server = ServerConfig { max_concurrent_calls: limit(2), ..ServerConfig::default() };
    let running = Running::start(Config { server, response_delay: HOUR, ..Config::default() }).await;
    let mut calls = Vec::new();
    for _ in 0..2 {
        let mut client = running.client().await;
        calls.push(tokio::spawn(async move { client.say_hello(greeting("Ann")).await }));
    }
    running.counted(r#"grpc_server_in_flight{grpc_method="hello.Hello/SayHello"} 2"#).await;
    let status = bounded(running.client().await.say_hello(greeting("Ann"))).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    running.counted(r#"grpc_server_rejected_total{limit="MAX_CONCURRENT_CALLS"} 1"#).await;
    let check = HealthCheckRequest { service: String::new() };
    bounded(HealthClient::new(running.channel().await).check(check)).await.unwrap();
    calls.iter().for_each(|call| call.abort());
}

#[tokio::test]
async fn client_that_fills_the_server_with_calls_leaves_the_slot_of_another_connection_free() {
    // One slot for each of 4 connections, and 4 for all of them.
    let mut server = ServerConfig { max_concurrent_calls: limit(8), ..ServerConfig::default() };
    server.connections.max_connections = limit(4);
    let running = Running::start(Config { server, response_delay: HOUR, ..Config::default() }).await;
    let greedy = running.client().await;
    let mut calls = Vec::new();
    for _ in 0..5 {
        let mut client = greedy.clone();
        calls.push(tokio::spawn(async move { client.say_hello(greeting("Ann")).await }));
    }
    running.counted(r#"grpc_server_in_flight{grpc_method="hello.Hello/SayHello"} 5"#).await;
    let status = bounded(greedy.clone().say_hello(greeting("Ann"))).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert_eq!(status.metadata().get("hostname").unwrap(), "pod-1");

    let mut other = running.client().await;
    calls.push(tokio::spawn(async move { other.say_hello(greeting("Bob")).await }));
    running.counted(r#"grpc_server_in_flight{grpc_method="hello.Hello/SayHello"} 6"#).await;
    running.counted(r#"grpc_server_rejected_total{limit="MAX_CONCURRENT_CALLS"} 1"#).await;
    calls.iter().for_each(|call| call.abort());
}

#[tokio::test]
async fn watches_above_the_limit_are_rejected_and_calls_are_not() {
    let server = ServerConfig { max_streaming_calls: limit(2), ..ServerConfig::default() };
    let running = Running::start(Config { server, ..Config::default() }).await;
    let mut client = HealthClient::new(running.channel().await);
    let request = HealthCheckRequest { service: String::new() };
    let first = bounded(client.watch(request.clone())).await.unwrap();
    let _second = bounded(client.watch(request.clone())).await.unwrap();
    let status = bounded(client.watch(request.clone())).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let answer = bounded(running.client().await.say_hello(greeting("Ann"))).await.unwrap();
    assert_eq!(answer.into_inner(), introduction("Ann"));
    // A watch is in flight until its client ends it.
    drop(first);
    bounded(async { while client.watch(request.clone()).await.is_err() {} }).await;
}

#[tokio::test(start_paused = true)]
async fn unfinished_upload_has_a_deadline() {
    let running = Running::start(Config::default()).await;
    let mut frames = FrameStream::connect(running.addr).await;
    // 100 bytes are announced, one is sent.
    frames.start_upload("/hello.Hello/SayHello", b"\x00\x00\x00\x00\x64x").await;
    let line =
        r#"grpc_server_handled_total{grpc_code="DeadlineExceeded",grpc_method="hello.Hello/SayHello"} 1"#;
    let began = Instant::now();
    while !running.instance.metrics.render().unwrap().lines().any(|it| it == line) {
        assert!(began.elapsed() < Duration::from_secs(60), "the upload has no deadline");
        time::sleep(Duration::from_secs(1)).await;
    }
}
