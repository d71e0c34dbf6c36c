//! The middleware's effect on requests: panics, hosts, and both versions of HTTP.

use axum::{Router, body::Body, routing::get};
use http::{Request, StatusCode, Version};
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use service::{
    http::ConnectionConfig,
    testing::{Client, bounded},
};
use tokio::{net::TcpStream, task::JoinSet};

use crate::http::{start, start_router};

async fn panics() -> &'static str {
    panic!("a test")
}

#[tokio::test]
async fn panicking_handler_costs_one_request() {
    let router = Router::new().route("/panic", get(panics)).route("/ok", get(|| async { "ok" }));
    let running = start_router(router, ConnectionConfig::default()).await;
    let mut client = Client::connect(running.addr).await;
    let answer = client.get("/panic").await;
    assert_eq!((answer.status, answer.header("connection")), (500, None));
    assert!(!answer.problem()["detail"].as_str().unwrap().contains("a test"));
    assert_eq!(client.get("/ok").await.body, "ok");
    let text = running.instance.metrics.render().unwrap();
    for line in ["panics_total 1", r#"http_requests_total{path="/panic",status="500"} 1"#] {
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn panic_of_one_request_fails_no_other() {
    let router = Router::new().route("/panic", get(panics)).route("/ok", get(|| async { "ok" }));
    let running = start_router(router, ConnectionConfig::default()).await;
    let mut callers = JoinSet::new();
    for caller in 0..100 {
        let addr = running.addr;
        callers.spawn(async move {
            let mut client = Client::connect(addr).await;
            let mut failed = 0;
            for request in 0..10 {
                let path = if (caller, request) == (50, 5) { "/panic" } else { "/ok" };
                failed += usize::from(client.get(path).await.status != 200);
            }
            failed
        });
    }
    assert_eq!(bounded(callers.join_all()).await.iter().sum::<usize>(), 1);
}

#[tokio::test]
async fn http_1_1_needs_one_valid_host() {
    let running = start(ConnectionConfig::default()).await;
    for (head, status) in [
        ("HTTP/1.1\r\nhost: test\r\n", 200),
        ("HTTP/1.1\r\nhost: [::1]:8200\r\n", 200),
        ("HTTP/1.1\r\nhost:\r\n", 200),
        ("HTTP/1.0\r\n", 200),
        ("HTTP/1.1\r\n", 400),
        ("HTTP/1.1\r\nhost: a\r\nhost: a\r\n", 400),
        ("HTTP/1.1\r\nhost: a b\r\n", 400),
    ] {
        let mut client = Client::connect(running.addr).await;
        client.send(&format!("GET /hello/ann {head}\r\n")).await;
        let answer = client.read_response().await;
        assert_eq!(answer.status, status, "{head:?}");
        if status == 400 {
            assert_eq!(answer.problem()["status"], 400);
        }
    }
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served_beside_http1() {
    let running = start(ConnectionConfig::default()).await;
    assert_eq!(Client::connect(running.addr).await.get("/hello/ann").await.body, "ann");
    let io = TokioIo::new(TcpStream::connect(running.addr).await.unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let uri = format!("http://{}/hello/ann", running.addr);
    let response =
        bounded(sender.send_request(Request::get(uri).body(Body::empty()).unwrap())).await.unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
    assert_eq!(response.headers()["x-request-id"].len(), 32);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ann");

    running.trigger.close();
    bounded(running.server).await.unwrap();
}

#[tokio::test]
async fn unusable_request_id_is_replaced() {
    let running = start(ConnectionConfig::default()).await;
    let mut client = Client::connect(running.addr).await;
    for (id, kept) in [("mine", true), ("two words", false), (&"x".repeat(129), false)] {
        client.send(&format!("GET /nowhere HTTP/1.1\r\nhost: test\r\nx-request-id: {id}\r\n\r\n")).await;
        let answer = client.read_response().await;
        assert_eq!(answer.header("x-request-id") == Some(id), kept, "{id}");
        assert_eq!(answer.problem()["status"], 404);
    }
}

#[tokio::test]
async fn empty_body_of_a_get_is_accepted() {
    let running = start(ConnectionConfig::default()).await;
    let mut client = Client::connect(running.addr).await;
    let chunked = "GET /hello/ann HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    for _ in 0..2 {
        client.send(chunked).await;
        assert_eq!(client.read_response().await.body, "ann");
    }
}
