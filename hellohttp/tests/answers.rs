//! The responses of hellohttp, byte for byte, and the end of its connections.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{net::SocketAddr, time::Duration};

use hellohttp::Config;
use service::{
    Identity, Instance, Shutdown, Trigger,
    http::ConnectionConfig,
    testing::{Client, bounded},
};
use tokio::{net::TcpListener, task::JoinHandle};

struct Running {
    addr: SocketAddr,
    trigger: Trigger,
    instance: Instance,
    serving: JoinHandle<()>,
}

async fn start(config: Config) -> Running {
    let (trigger, shutdown) = Shutdown::new();
    let identity = Identity { version: "v1-hellohttp".into(), hostname: "pod-2".into() };
    let instance = Instance::new(identity, shutdown);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let serving = hellohttp::serve(config, listener, instance.clone());
    let serving = tokio::spawn(async move { serving.await.unwrap() });
    Running { addr, trigger, instance, serving }
}

fn aged(max_connection_age: Duration) -> Config {
    let config = Config::default();
    Config { connections: ConnectionConfig { max_connection_age, ..config.connections }, ..config }
}

#[tokio::test]
async fn name_of_any_characters_is_returned() {
    let running = start(Config::default()).await;
    let mut client = Client::connect(running.addr).await;
    for (query, name) in [
        ("", ""),
        ("?name=", ""),
        ("?name=Ann", "Ann"),
        ("?other=1&name=Ann", "Ann"),
        ("?name=J%C3%BCrgen+%26+S%C3%B8n", "Jürgen & Søn"),
        ("?name=%22%5C%0A%00", r#"\"\\\n\u0000"#),
        ("?name=%F0%9F%A6%80", "🦀"),
    ] {
        let answer = client.get(&format!("/hellohttp{query}")).await;
        let body = format!(r#"{{"name":"{name}","version":"v1-hellohttp","hostname":"pod-2"}}"#);
        assert_eq!((answer.status, answer.body.as_str()), (200, body.as_str()), "{query}");
        assert_eq!(answer.header("content-type").unwrap(), "application/json");
        assert_eq!(answer.header("x-request-id").unwrap().len(), 32);
    }
}

#[tokio::test]
async fn other_requests_are_problems() {
    let running = start(Config::default()).await;
    let mut client = Client::connect(running.addr).await;

    let answer = client.get("/hellohttp?name=Ann&name=Bob").await;
    assert_eq!(answer.status, 400);
    assert!(answer.problem()["detail"].as_str().unwrap().contains("duplicate field `name`"), "{answer:?}");

    for path in ["/", "/hellohttp/", "/hellohttp/x", "/Hellohttp", "/healthz"] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.problem()["detail"], format!("there is nothing at {path}"));
    }

    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
        client
            .send(&format!("{method} /hellohttp HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n"))
            .await;
        let answer = client.read_response().await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET,HEAD")), "{method}");
        assert!(answer.problem()["detail"].as_str().unwrap().contains(method), "{answer:?}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    let running = start(Config::default()).await;
    let mut client = Client::connect(running.addr).await;
    for path in ["/hellohttp", "/hellohttp?name=Ann", "/hellohttp?name=1&name=2", "/secret"] {
        client.get(path).await;
    }
    let text = running.instance.metrics.render().unwrap();
    for line in [
        r#"http_requests_total{path="/hellohttp",status="200"} 2"#,
        r#"http_requests_total{path="/hellohttp",status="400"} 1"#,
        r#"http_requests_total{path="unmatched",status="404"} 1"#,
        r#"http_request_duration_seconds_bucket{path="/hellohttp",status="200",le="+Inf"} 2"#,
        r#"http_requests_in_flight{path="/hellohttp"} 0"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("secret") && !text.contains("Ann"), "{text}");
}

#[tokio::test]
async fn old_connection_is_closed_and_replaced() {
    let running = start(aged(Duration::from_millis(200))).await;
    for _ in 0..2 {
        let mut client = Client::connect(running.addr).await;
        let last = bounded(async {
            loop {
                let answer = client.get("/hellohttp").await;
                assert_eq!(answer.status, 200);
                if answer.header("connection").is_some() {
                    return answer;
                }
            }
        })
        .await;
        assert_eq!(last.header("connection"), Some("close"));
        client.ended().await;
    }
}

#[tokio::test]
async fn shutdown_drains_requests_in_flight() {
    let running = start(Config { response_delay: Duration::from_millis(300), ..Config::default() }).await;
    let mut client = Client::connect(running.addr).await;
    client.send_get("/hellohttp?name=Ann").await;
    let in_flight = r#"http_requests_in_flight{path="/hellohttp"} 1"#;
    bounded(async {
        while !running.instance.metrics.render().unwrap().contains(in_flight) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    running.trigger.close();
    let answer = client.read_response().await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    client.ended().await;
    bounded(running.serving).await.unwrap();
}
