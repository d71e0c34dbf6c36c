//! The admin port, over real sockets.

use std::net::SocketAddr;

use axum::{Router, routing::get};
use service::{Identity, Instance, Shutdown, Trigger};
use tokio::{net::TcpListener, sync::watch};

use service::testing::Client;

async fn start() -> (SocketAddr, Instance, Trigger) {
    let (trigger, shutdown) = Shutdown::new();
    let instance = Instance::new(Identity { version: "v1-test".into(), hostname: "pod-1".into() }, shutdown);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let admin = instance.admin.clone();
    tokio::spawn(async move { admin.serve(listener).await });
    (addr, instance, trigger)
}

#[tokio::test]
async fn admin_port_answers_health_and_metrics() {
    let (addr, _instance, _trigger) = start().await;
    let mut client = Client::connect(addr).await;
    assert_eq!(client.get("/").await.body, "hello world");
    for path in ["/healthz", "/_ah/health", "/readyz"] {
        let answer = client.get(path).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"), "{path}");
    }
    let answer = client.get("/metrics").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(answer.body.contains("# TYPE build_info gauge\n"), "{}", answer.body);
    assert_eq!(client.get("/nowhere").await.problem()["status"], 404);
}

#[tokio::test]
async fn unready_or_draining_program_answers_503() {
    let (addr, instance, trigger) = start().await;
    let mut client = Client::connect(addr).await;
    let (sender, readiness) = watch::channel(Err("no backend is connected".to_owned()));
    instance.admin.set_readiness(readiness);
    let answer = client.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.problem()["detail"], "no backend is connected");
    sender.send(Ok(())).unwrap();
    assert_eq!(client.get("/readyz").await.status, 200);
    trigger.drain();
    assert_eq!(client.get("/readyz").await.problem()["detail"], "the program is stopping");
    assert_eq!(client.get("/_ah/health").await.status, 503);
    assert_eq!(client.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn added_routes_are_served() {
    let (addr, instance, _trigger) = start().await;
    let mut client = Client::connect(addr).await;
    assert_eq!(client.get("/debug/channels").await.status, 404);
    instance.admin.merge(Router::new().route("/debug/channels", get(|| async { "[]" })));
    assert_eq!(client.get("/debug/channels").await.body, "[]");
    assert_eq!(client.get("/healthz").await.body, "ok");
}
