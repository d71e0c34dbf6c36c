//! Failures of the HTTP backend, and the gateway's responses to them.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod harness;

use std::time::Duration;

use harness::{
    InProcess,
    client::{get, request, upstream_failure},
    gateway,
    http_backend::{Action, Event, HttpBackend, http_backend, ok},
    refusing,
};
use service::testing::{Exposition, bounded};

/// Starts a backend with the same action for every request, and a gateway in front of it.
async fn backend_with(action: impl Fn() -> Action + Send + Sync + 'static) -> (InProcess, HttpBackend) {
    let backend = http_backend(move |_, _| action()).await;
    let gateway = gateway(|config| config.http_target = backend.url()).await;
    (gateway, backend)
}

/// Requests a greeting, and checks that it fails with this status and is counted as this failure.
async fn fails(gateway: &InProcess, status: u16, failure: &str) {
    let answer = get(gateway.addr, "/hellohttp?name=Ann").await;
    upstream_failure(&answer, status, failure);
    let metrics = Exposition::parse(&gateway.instance.metrics.render().unwrap());
    let labels = [("outcome", failure), ("connection", "new")];
    let counted = metrics.value("helloserve_http_upstream_requests_total", &labels);
    assert_eq!(counted, Some(1.0));
}

#[tokio::test]
async fn refused_connection_is_unavailable() {
    let target = format!("http://{}/hellohttp", refusing());
    let gateway = gateway(|config| config.http_target = target.parse().unwrap()).await;
    fails(&gateway, 503, "unavailable").await;
}

#[tokio::test]
async fn unknown_name_is_a_failed_name_resolution() {
    let gateway = gateway(|config| {
        config.http_target = "http://no_such.invalid/hellohttp".parse().unwrap();
        config.http_dns_server = Some(refusing());
    })
    .await;
    fails(&gateway, 503, "name_resolution").await;
}

#[tokio::test]
async fn stalled_backend_is_a_timeout_and_the_request_is_cancelled() {
    let mut backend = http_backend(|_, _| Action::Stall).await;
    let gateway = gateway(|config| {
        config.http_target = backend.url();
        config.upstream_timeout = Duration::from_millis(50);
    })
    .await;
    fails(&gateway, 504, "timeout").await;
    assert_eq!(backend.next().await, Event::Connected);
    backend.next_request().await;
}

#[tokio::test]
async fn shorter_grpc_timeout_of_the_caller_wins() {
    let (gateway, _backend) = backend_with(|| Action::Stall).await;
    let answer = request(gateway.addr, "GET", "/hellohttp", "grpc-timeout: 30m\r\n").await;
    upstream_failure(&answer, 504, "timeout");
}

#[tokio::test]
async fn response_that_stalls_halfway_is_a_timeout() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"name\":";
    let (gateway, _backend) = backend_with(|| Action::Respond(half.to_owned())).await;
    let answer = request(gateway.addr, "GET", "/hellohttp", "grpc-timeout: 50m\r\n").await;
    upstream_failure(&answer, 504, "timeout");
}

#[tokio::test]
async fn error_status_is_bad_gateway_without_the_backends_body() {
    for status in ["500 Internal Server Error", "404 Not Found", "503 Service Unavailable"] {
        let response = format!("HTTP/1.1 {status}\r\ncontent-length: 6\r\n\r\nsecret");
        let (gateway, _backend) = backend_with(move || Action::Respond(response.clone())).await;
        fails(&gateway, 502, "error_status").await;
    }
}

#[tokio::test]
async fn redirect_is_not_followed() {
    let redirect = "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n";
    let (gateway, mut backend) = backend_with(|| Action::Respond(redirect.to_owned())).await;
    fails(&gateway, 502, "error_status").await;
    backend.next_request().await;
    assert!(!backend.seen().iter().any(|event| matches!(event, Event::Request(_))));
}

#[tokio::test]
async fn body_that_is_not_a_json_object_is_an_invalid_response() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
    for body in ["<html>", "", "[1]", "null", "{\"name\":\"Ann\"", "{} {}", "{\"a\":\"\u{1}\"}", &deep] {
        let response = ok(body);
        let (gateway, _backend) = backend_with(move || Action::Respond(response.clone())).await;
        fails(&gateway, 502, "invalid_response").await;
    }
}

#[tokio::test]
async fn bytes_that_are_not_http_are_an_invalid_response() {
    for garbage in [&b"\x00\x01\x02\xff\xfe\r\n\r\n"[..], b"SSH-2.0-OpenSSH_9.9\r\n", b"HTTP/9.9 abc\r\n\r\n"]
    {
        let (gateway, _backend) = backend_with(move || Action::RespondAndClose(garbage.to_vec())).await;
        fails(&gateway, 502, "invalid_response").await;
    }
}

#[tokio::test]
async fn response_that_ends_early_is_an_invalid_response() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"name\":";
    let (gateway, _backend) = backend_with(|| Action::RespondAndClose(half.into())).await;
    fails(&gateway, 502, "invalid_response").await;
}

#[tokio::test]
async fn response_at_the_limit_is_used_and_a_longer_one_is_not_read_to_its_end() {
    let fits = ok(&format!("{{\"a\":\"{}\"}}", "x".repeat(64 * 1024 - 8)));
    let (gateway, _backend) = backend_with(move || Action::Respond(fits.clone())).await;
    assert_eq!(get(gateway.addr, "/hellohttp").await.status, 200);

    let too_long = ok(&format!("{{\"a\":\"{}\"}}", "x".repeat(64 * 1024 - 7)));
    let (gateway, _backend) = backend_with(move || Action::Respond(too_long.clone())).await;
    fails(&gateway, 502, "invalid_response").await;

    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let until_closed = "HTTP/1.1 200 OK\r\n\r\n";
    for (first, repeated) in [(chunked, "4\r\n    \r\n"), (until_closed, "    ")] {
        let (gateway, mut backend) = backend_with(move || Action::RepeatForever(first, repeated)).await;
        fails(&gateway, 502, "invalid_response").await;
        bounded(async { while backend.next().await != Event::Closed {} }).await;
    }
}

#[tokio::test]
async fn endless_informational_responses_end_at_the_deadline_and_delay_no_other_request() {
    let hint = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let backend = http_backend(move |_, head| {
        if head.contains("name=flood") { Action::RepeatForever("", hint) } else { Action::Respond(ok("{}")) }
    })
    .await;
    let gateway = gateway(|config| config.http_target = backend.url()).await;
    let headers = "grpc-timeout: 100m\r\n";
    let flood = request(gateway.addr, "GET", "/hellohttp?name=flood", headers);
    let other = get(gateway.addr, "/hellohttp?name=Ann");
    let (flood, other) = tokio::join!(bounded(flood), bounded(other));
    upstream_failure(&flood, 504, "timeout");
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn requests_are_counted_by_the_connection_that_they_open_or_reuse() {
    let (gateway, _backend) = backend_with(|| Action::Respond(ok("{}"))).await;
    for _ in 0..3 {
        assert_eq!(get(gateway.addr, "/hellohttp").await.status, 200);
    }
    let metrics = Exposition::parse(&gateway.instance.metrics.render().unwrap());
    let count = |connection| {
        let labels = [("outcome", "success"), ("connection", connection)];
        metrics.value("helloserve_http_upstream_requests_total", &labels).unwrap()
    };
    // The time between the requests decides whether a connection is reused.
    assert_eq!(count("new") + count("reused"), 3.0);
    assert!(count("new") >= 1.0);
}
