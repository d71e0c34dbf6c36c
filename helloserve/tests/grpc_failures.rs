//! Failures of the gRPC backends, and the gateway's responses to them.

mod harness;

use std::time::Duration;

use harness::{
    client::{get, request, upstream_failure},
    gateway,
    grpc_backend::{failing, grpc_backend, introduction},
    http_backend::{Action, http_backend},
    ipv4, refusing,
};
use tokio::net::TcpListener;
use tonic::{Code, Status};

#[tokio::test]
async fn refused_connection_is_unavailable() {
    let gateway = gateway(|config| config.grpc_target = ipv4(refusing())).await;
    upstream_failure(&get(gateway.addr, "/hellogrpc").await, 503, "unavailable");
}

#[tokio::test]
async fn stalled_backend_is_a_timeout() {
    let mut grpc = grpc_backend(|_| Box::pin(std::future::pending())).await;
    let gateway = gateway(|config| {
        config.grpc_target = grpc.target();
        config.upstream_timeout = Duration::from_millis(200);
    })
    .await;
    upstream_failure(&get(gateway.addr, "/hellogrpc").await, 504, "timeout");
    let (metadata, _) = grpc.next_call().await;
    assert!(metadata.contains_key("grpc-timeout"), "{metadata:?}");
}

#[tokio::test]
async fn shorter_grpc_timeout_of_the_caller_wins() {
    let grpc = grpc_backend(|_| Box::pin(std::future::pending())).await;
    let gateway = gateway(|config| config.grpc_target = grpc.target()).await;
    let answer = request(gateway.addr, "GET", "/hellogrpc", "grpc-timeout: 200m\r\n").await;
    upstream_failure(&answer, 504, "timeout");
}

#[tokio::test]
async fn backend_that_accepts_and_sends_nothing_is_a_timeout() {
    // The kernel completes the connection, and no program accepts it.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = ipv4(silent.local_addr().unwrap());
    let gateway = gateway(|config| config.grpc_target = target).await;
    let answer = request(gateway.addr, "GET", "/hellogrpc", "grpc-timeout: 100m\r\n").await;
    upstream_failure(&answer, 504, "timeout");
}

#[tokio::test]
async fn backend_that_speaks_http_1_is_unavailable() {
    let html = "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nno";
    let backend = http_backend(|_, _| Action::RespondAndClose(html.into())).await;
    let target = ipv4(backend.addr);
    let gateway = gateway(|config| config.grpc_target = target).await;
    let answer = get(gateway.addr, "/hellogrpc").await;
    assert_eq!(answer.problem()["backend"], "gRPC", "{answer:?}");
    assert!(matches!(answer.status, 502 | 503), "{answer:?}");
}

#[tokio::test]
async fn every_grpc_status_maps_to_an_http_status() {
    for (code, status, failure) in [
        (Code::InvalidArgument, 400, "invalid_argument"),
        (Code::ResourceExhausted, 429, "resource_exhausted"),
        (Code::Unavailable, 503, "unavailable"),
        (Code::DeadlineExceeded, 504, "timeout"),
        (Code::Cancelled, 502, "error_status"),
        (Code::Unknown, 502, "error_status"),
        (Code::NotFound, 502, "error_status"),
        (Code::AlreadyExists, 502, "error_status"),
        (Code::PermissionDenied, 502, "error_status"),
        (Code::FailedPrecondition, 502, "error_status"),
        (Code::Aborted, 502, "error_status"),
        (Code::OutOfRange, 502, "invalid_response"),
        (Code::Unimplemented, 502, "error_status"),
        (Code::Internal, 502, "error_status"),
        (Code::DataLoss, 502, "error_status"),
        (Code::Unauthenticated, 502, "error_status"),
    ] {
        let grpc = failing(Status::new(code, "secret\nof the backend")).await;
        let gateway = gateway(|config| config.grpc_target = grpc.target()).await;
        upstream_failure(&get(gateway.addr, "/hellogrpc").await, status, failure);
    }
}

#[tokio::test]
async fn response_above_the_limit_is_an_invalid_response() {
    let long = "x".repeat(64 * 1024);
    let grpc = grpc_backend(move |name| {
        let introduction = introduction(name, &long);
        Box::pin(async { Ok(introduction) })
    })
    .await;
    let gateway = gateway(|config| config.grpc_target = grpc.target()).await;
    upstream_failure(&get(gateway.addr, "/hellogrpc").await, 502, "invalid_response");
}
