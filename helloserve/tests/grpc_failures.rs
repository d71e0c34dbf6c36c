//! Everything the gRPC backend can do wrong, and what the caller is told.

mod stage;

use std::time::Duration;

use stage::{
    client::{get, problem, request},
    gateway,
    grpc_backend::{failing, grpc_backend, introduction},
    http_backend::{Deed, http_backend},
    ipv4, refusing,
};
use tokio::net::TcpListener;
use tonic::{Code, Status};

#[tokio::test]
async fn down() {
    let target = ipv4(refusing());
    let gateway = gateway(|config| config.grpc_target = target.clone()).await;
    let detail = problem(&get(gateway.addr, "/hellogrpc").await, 503);
    assert!(detail.starts_with(&format!("the gRPC backend {target} is unavailable: ")), "{detail}");
    assert!(detail.contains("refused"), "{detail}");
}

#[tokio::test]
async fn hung() {
    let mut grpc = grpc_backend(|_| Box::pin(std::future::pending())).await;
    let gateway = gateway(|config| {
        config.grpc_target = grpc.target();
        config.upstream_timeout = Duration::from_millis(200);
    })
    .await;
    let detail = problem(&get(gateway.addr, "/hellogrpc").await, 504);
    assert!(
        detail.starts_with(&format!("the gRPC backend {} did not answer within 200ms", grpc.target())),
        "{detail}"
    );
    let (metadata, _) = grpc.next_call().await;
    assert!(metadata.contains_key("grpc-timeout"), "{metadata:?}");
}

#[tokio::test]
async fn hung_longer_than_the_caller_waits() {
    let grpc = grpc_backend(|_| Box::pin(std::future::pending())).await;
    let gateway = gateway(|config| config.grpc_target = grpc.target()).await;
    let answer = request(gateway.addr, "GET", "/hellogrpc", "grpc-timeout: 200m\r\n").await;
    let detail = problem(&answer, 504);
    assert!(
        detail.starts_with(&format!("the gRPC backend {} did not answer within 200ms", grpc.target())),
        "{detail}"
    );
}

#[tokio::test]
async fn accepts_and_never_speaks() {
    // The kernel completes the connection; nobody reads it.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = ipv4(silent.local_addr().unwrap());
    let gateway = gateway(|config| config.grpc_target = target).await;
    let answer = request(gateway.addr, "GET", "/hellogrpc", "grpc-timeout: 100m\r\n").await;
    problem(&answer, 504);
}

#[tokio::test]
async fn does_not_speak_grpc() {
    let html = "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nno";
    let backend = http_backend(|_, _| Deed::AnswerAndClose(html.into())).await;
    let target = ipv4(backend.addr);
    let gateway = gateway(|config| {
        config.grpc_target = target;
        config.upstream_timeout = Duration::from_millis(500);
    })
    .await;
    let answer = get(gateway.addr, "/hellogrpc").await;
    assert!([502, 503].contains(&answer.status), "{answer:?}");
    let status = answer.status;
    let detail = problem(&answer, status);
    assert!(detail.starts_with("the gRPC backend ipv4:"), "{detail}");
}

#[tokio::test]
async fn every_status_has_its_place() {
    for (code, status) in [
        (Code::InvalidArgument, 400),
        (Code::ResourceExhausted, 429),
        (Code::Unavailable, 503),
        (Code::DeadlineExceeded, 504),
        (Code::Cancelled, 502),
        (Code::Unknown, 502),
        (Code::NotFound, 502),
        (Code::AlreadyExists, 502),
        (Code::PermissionDenied, 502),
        (Code::FailedPrecondition, 502),
        (Code::Aborted, 502),
        (Code::OutOfRange, 502),
        (Code::Unimplemented, 502),
        (Code::Internal, 502),
        (Code::DataLoss, 502),
        (Code::Unauthenticated, 502),
    ] {
        let grpc = failing(Status::new(code, "the words of the backend")).await;
        let gateway = gateway(|config| config.grpc_target = grpc.target()).await;
        let detail = problem(&get(gateway.addr, "/hellogrpc").await, status);
        assert!(detail.starts_with(&format!("the gRPC backend {} ", grpc.target())), "{code:?}: {detail}");
        assert!(detail.contains("the words of the backend"), "{code:?}: {detail}");
    }
}

#[tokio::test]
async fn words_without_end_are_cut() {
    let grpc = failing(Status::internal("many\nwords ".repeat(300))).await;
    let gateway = gateway(|config| config.grpc_target = grpc.target()).await;
    let detail = problem(&get(gateway.addr, "/hellogrpc").await, 502);
    assert!(detail.len() < 400 && detail.ends_with('…') && !detail.contains('\n'), "{detail}");
}

#[tokio::test]
async fn longer_than_anyone_needs() {
    let long = "x".repeat(64 * 1024);
    let grpc = grpc_backend(move |name| {
        let introduction = introduction(name, &long);
        Box::pin(async { Ok(introduction) })
    })
    .await;
    let gateway = gateway(|config| config.grpc_target = grpc.target()).await;
    let detail = problem(&get(gateway.addr, "/hellogrpc").await, 502);
    assert!(detail.contains("65536"), "{detail}");
}
