//! The responses, and the errors for invalid calls.

use std::time::Duration;

use hellogrpc::Config;
use service::{grpc::ServerConfig, testing::bounded};
use tonic::{Code, Request};

use crate::{Running, greeting, http2_frames::FrameStream, introduction};

#[tokio::test]
async fn a_name_of_any_characters_is_returned_unchanged() {
    let running = Running::start(Config::default()).await;
    let mut client = running.client().await;
    for name in ["", "Ann", "Jürgen & Søn", "\"\\\n\0", "🦀", &"long".repeat(4_000)] {
        let answer = bounded(client.say_hello(greeting(name))).await.unwrap();
        assert_eq!(answer.into_inner(), introduction(name));
    }
}

/// Existing programs speak exactly these bytes.
#[tokio::test]
async fn responses_are_the_bytes_of_the_protocol() {
    let running = Running::start(Config::default()).await;
    let mut frames = FrameStream::connect(running.addr).await;
    let body = frames.call("/hello.Hello/SayHello", b"\x00\x00\x00\x00\x05\x0a\x03Ann").await;
    assert_eq!(body, b"\x00\x00\x00\x00\x1a\x0a\x03Ann\x12\x0cv1-hellogrpc\x1a\x05pod-1");
    // The empty name is left out, and so is the empty message.
    let body = frames.call("/hello.Hello/SayHello", b"\x00\x00\x00\x00\x00").await;
    assert_eq!(body, b"\x00\x00\x00\x00\x15\x12\x0cv1-hellogrpc\x1a\x05pod-1");
}

#[tokio::test]
async fn messages_and_headers_over_the_limits_are_errors_and_keep_the_connection() {
    let config = Config {
        server: ServerConfig { max_message_size: 1000, ..ServerConfig::default() },
        ..Config::default()
    };
    let running = Running::start(config).await;
    let mut client = running.client().await;

    let status = bounded(client.say_hello(greeting(&"x".repeat(1000)))).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    assert!(status.message().contains("1000"), "{status}");

    // The request fits, but the answer, which has more fields, does not.
    let status = bounded(client.say_hello(greeting(&"x".repeat(980)))).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status}");

    let mut request = Request::new(greeting("Ann"));
    request.metadata_mut().insert("x-large", "x".repeat(20_000).parse().unwrap());
    let status = bounded(client.say_hello(request)).await.unwrap_err();
    assert_ne!(status.code(), Code::Ok);

    // The connection has survived all of them.
    assert_eq!(bounded(client.say_hello(greeting("Ann"))).await.unwrap().into_inner(), introduction("Ann"));
}

#[tokio::test]
async fn calls_are_counted_by_method_and_status() {
    let running = Running::start(Config {
        server: ServerConfig { max_message_size: 100, ..ServerConfig::default() },
        ..Config::default()
    })
    .await;
    let mut client = running.client().await;
    for _ in 0..2 {
        bounded(client.say_hello(greeting("Ann"))).await.unwrap();
    }
    bounded(client.say_hello(greeting(&"x".repeat(100)))).await.unwrap_err();
    let mut frames = FrameStream::connect(running.addr).await;
    frames.call("/hello.Hello/Secret", b"").await;
    frames.call("/secret.Service/Method", b"").await;

    running
        .counted(r#"grpc_server_handled_total{grpc_code="OK",grpc_method="hello.Hello/SayHello"} 2"#)
        .await;
    let text = running.instance.metrics.render().unwrap();
    for line in [
        r#"grpc_server_handled_total{grpc_code="OutOfRange",grpc_method="hello.Hello/SayHello"} 1"#,
        r#"grpc_server_handled_total{grpc_code="Unimplemented",grpc_method="unknown"} 2"#,
        r#"grpc_server_handling_seconds_count{grpc_code="OK",grpc_method="hello.Hello/SayHello"} 2"#,
        r#"grpc_server_in_flight{grpc_method="hello.Hello/SayHello"} 0"#,
        r#"grpc_server_in_flight{grpc_method="grpc.health.v1.Health/Check"} 0"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.to_lowercase().contains("secret"), "{text}");
}

#[tokio::test]
async fn a_call_past_its_deadline_is_deadline_exceeded() {
    let running =
        Running::start(Config { response_delay: Duration::from_secs(3600), ..Config::default() }).await;
    // This client sends its deadline, and does not enforce it.
    let mut frames = FrameStream::connect(running.addr).await;
    let stream = frames.start_call_within("/hello.Hello/SayHello", "20m", b"\x00\x00\x00\x00\x00").await;
    assert_eq!(frames.body(stream).await, b"");
    let line =
        r#"grpc_server_handled_total{grpc_code="DeadlineExceeded",grpc_method="hello.Hello/SayHello"} 1"#;
    running.counted(line).await;
}

#[tokio::test]
async fn a_call_that_its_client_cancels_counts_as_canceled() {
    let config = Config { response_delay: Duration::from_secs(3600), ..Config::default() };
    let running = Running::start(config).await;
    let mut client = running.client().await;
    let call = tokio::spawn(async move { client.say_hello(greeting("Ann")).await });
    running.counted(r#"grpc_server_in_flight{grpc_method="hello.Hello/SayHello"} 1"#).await;
    call.abort();
    running.counted(r#"grpc_server_in_flight{grpc_method="hello.Hello/SayHello"} 0"#).await;
    let canceled = r#"grpc_server_handled_total{grpc_code="Canceled",grpc_method="hello.Hello/SayHello"} 1"#;
    running.counted(canceled).await;
}
