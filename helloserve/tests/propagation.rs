//! The headers that the gateway forwards to both backends.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod harness;

use harness::{
    client::request,
    gateway,
    grpc_backend::{grpc_backend, introduction},
    http_backend::{Action, http_backend, ok},
};
use service::testing::Response;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Sends a request with these header lines to both paths. Returns the `x-request-id` of each response, and the values
/// of the headers `names` at each backend.
async fn seen(lines: &str, names: &[&str]) -> [(String, Vec<Option<String>>); 2] {
    let mut grpc = grpc_backend(|name| Box::pin(async { Ok(introduction(name, "pod-1")) })).await;
    let mut http = http_backend(|_, _| Action::Respond(ok("{}"))).await;
    let gateway = gateway(|config| {
        config.grpc_target = grpc.target();
        config.http_target = http.url();
    })
    .await;
    let id = |answer: Response| answer.header("x-request-id").unwrap().to_owned();
    let grpc_id = id(request(gateway.addr, "GET", "/hellogrpc", lines).await);
    let metadata = grpc.next_call().await.0;
    let by_grpc = |name: &&str| metadata.get(*name).map(|value| value.to_str().unwrap().to_owned());
    let http_id = id(request(gateway.addr, "GET", "/hellohttp", lines).await);
    let head = http.next_request().await;
    let by_http = |name: &&str| {
        let line = head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}: ")))?;
        Some(line[name.len() + 2..].to_owned())
    };
    [(grpc_id, names.iter().map(by_grpc).collect()), (http_id, names.iter().map(by_http).collect())]
}

#[tokio::test]
async fn request_id_and_trace_context_are_forwarded() {
    let lines = format!("x-request-id: abc-1\r\ntraceparent: {PARENT}\r\ntracestate: vendor=1\r\n");
    for (id, headers) in seen(&lines, &["x-request-id", "traceparent", "tracestate"]).await {
        assert_eq!(id, "abc-1");
        let expected = ["abc-1", PARENT, "vendor=1"].map(|value| Some(value.to_owned()));
        assert_eq!(headers, expected);
    }
}

#[tokio::test]
async fn missing_request_id_is_generated_and_missing_trace_context_is_not() {
    let [(first, by_grpc), (second, by_http)] = seen("", &["x-request-id", "traceparent"]).await;
    assert_ne!(first, second);
    assert_eq!(by_grpc, [Some(first), None]);
    assert_eq!(by_http, [Some(second), None]);
}

#[tokio::test]
async fn other_headers_are_not_forwarded() {
    let lines = "traceparent: 00-broken\r\ntracestate: vendor=1\r\nauthorization: secret\r\ncookie: a=b\r\n";
    for (_, headers) in seen(lines, &["traceparent", "tracestate", "authorization", "cookie"]).await {
        assert_eq!(headers, [None, None, None, None]);
    }
}
