//! The middleware of every program, and the end of connections, over real sockets.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::Path, routing::get};
use service::{
    Identity, Instance, Shutdown, Trigger,
    http::{ConnectionConfig, finish, serve},
};
use tokio::{sync::Notify, task::JoinHandle};

use service::testing::{Client, bounded};

pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) instance: Instance,
    pub(crate) trigger: Trigger,
    /// Lets one request to `/slow` end.
    finish: Arc<Notify>,
    /// Notified when a request to `/slow` starts.
    started: Arc<Notify>,
    /// Notified when a request to `/slow` has ended or was cancelled.
    ended: Arc<Notify>,
    pub(crate) server: JoinHandle<()>,
}

/// Notifies when it is dropped.
struct NotifyOnDrop(Arc<Notify>);

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Starts a server with the routes of these tests.
pub(crate) async fn start(config: ConnectionConfig) -> Running {
    let [finish, started, ended] = [(); 3].map(|()| Arc::new(Notify::new()));
    let slow = {
        let (finish, started, ended) = (Arc::clone(&finish), Arc::clone(&started), Arc::clone(&ended));
        move || async move {
            let _ended = NotifyOnDrop(ended);
            started.notify_one();
            finish.notified().await;
            "done"
        }
    };
    let router = Router::new()
        .route("/hello/{name}", get(|Path(name): Path<String>| async move { name }))
        .route("/slow", get(slow));
    Running { finish, started, ended, ..start_router(router, config).await }
}

/// Starts a server with other routes.
pub(crate) async fn start_router(router: Router, config: ConnectionConfig) -> Running {
    let (trigger, shutdown) = Shutdown::new();
    let identity = Identity { version: "v1-test".into(), hostname: "pod-1".into() };
    let instance = Instance::new(identity, shutdown);
    let router = finish(router, Some(&instance.metrics));
    let listener = service::listen::address(([127, 0, 0, 1], 0).into(), "--listen-addr").unwrap();
    let addr = listener.local_addr().unwrap();
    let server = tokio::spawn({
        let instance = instance.clone();
        async move { serve(listener, router, &instance, config).await }
    });
    let [finish, started, ended] = [(); 3].map(|()| Arc::default());
    Running { addr, instance, trigger, finish, started, ended, server }
}

#[tokio::test]
async fn unknown_path_or_method_is_a_problem() {
    let running = start(ConnectionConfig::default()).await;
    let mut client = Client::connect(running.addr).await;

    client.send("GET /nowhere?x=1 HTTP/1.1\r\nhost: test\r\nx-request-id: mine\r\n\r\n").await;
    let answer = client.read_response().await;
    assert_eq!((answer.status, answer.header("x-request-id")), (404, Some("mine")));
    assert_eq!(
        answer.body,
        r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"there is nothing at /nowhere","request_id":"mine"}"#
    );

    client.send("DELETE /hello/ann HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let answer = client.read_response().await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET,HEAD")));
    assert_eq!(answer.problem()["request_id"].as_str(), answer.header("x-request-id"));
    assert_eq!(answer.problem()["detail"], "/hello/ann does not take DELETE; see the Allow header");
}

#[tokio::test]
async fn requests_are_counted_by_route() {
    let running = start(ConnectionConfig::default()).await;
    let mut client = Client::connect(running.addr).await;
    for path in ["/hello/ann", "/hello/bob", "/nowhere/1", "/nowhere/2"] {
        client.get(path).await;
    }
    let text = running.instance.metrics.render().unwrap();
    for line in [
        r#"http_requests_total{path="/hello/{name}",status="200"} 2"#,
        r#"http_requests_total{path="unmatched",status="404"} 2"#,
        r#"http_request_duration_seconds_count{path="/hello/{name}",status="200"} 2"#,
        r#"http_requests_in_flight{path="/hello/{name}"} 0"#,
        r#"build_info{hostname="pod-1","#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("ann") && !text.contains("nowhere"), "{text}");
}

#[tokio::test]
async fn closing_server_answers_the_request_in_flight() {
    let running = start(ConnectionConfig::default()).await;
    let mut busy = Client::connect(running.addr).await;
    let mut idle = Client::connect(running.addr).await;
    assert_eq!(idle.get("/hello/ann").await.header("connection"), None);
    busy.send("GET /slow HTTP/1.1\r\nhost: test\r\n\r\n").await;
    bounded(running.started.notified()).await;

    running.trigger.close();
    // One more request on an idle connection gets a response with `connection: close`.
    let answer = idle.get("/hello/bob").await;
    assert_eq!((answer.body.as_str(), answer.header("connection")), ("bob", Some("close")));
    idle.ended().await;

    running.finish.notify_one();
    let answer = busy.read_response().await;
    assert_eq!((answer.body.as_str(), answer.header("connection")), ("done", Some("close")));
    busy.ended().await;
    bounded(running.server).await.unwrap();
    assert!(tokio::net::TcpStream::connect(running.addr).await.is_err());
}

#[tokio::test]
async fn draining_server_accepts_requests() {
    let running = start(ConnectionConfig::default()).await;
    running.trigger.drain();
    bounded(running.instance.shutdown.draining()).await;
    let mut client = Client::connect(running.addr).await;
    assert_eq!(client.get("/hello/ann").await.status, 200);
    assert!(!running.server.is_finished());
}

#[tokio::test]
async fn old_connection_gets_connection_close() {
    let age = Duration::from_millis(200);
    let running = start(ConnectionConfig { max_connection_age: age, ..ConnectionConfig::default() }).await;
    let mut client = Client::connect(running.addr).await;
    let mut answers = 0;
    bounded(async {
        while client.get("/hello/ann").await.header("connection").is_none() {
            answers += 1;
        }
    })
    .await;
    client.ended().await;
    assert!(answers > 0, "the connection was old from the start");
}

#[tokio::test(start_paused = true)]
async fn old_connection_stays_open_while_no_other_could_be_opened() {
    let running = start(ConnectionConfig {
        max_connections: 2.try_into().unwrap(),
        max_connection_age: Duration::from_secs(1),
        ..ConnectionConfig::default()
    })
    .await;
    let mut client = Client::connect(running.addr).await;
    let mut other = Client::connect(running.addr).await;
    assert_eq!(other.get("/hello/bob").await.status, 200);
    for _ in 0..5 {
        assert_eq!(client.get("/hello/ann").await.header("connection"), None);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    drop(other);
    let freed = tokio::time::Instant::now();
    while client.get("/hello/ann").await.header("connection").is_none() {
        assert!(freed.elapsed() < Duration::from_secs(2), "the connection was not ended");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    client.ended().await;
}

#[tokio::test]
async fn client_that_leaves_cancels_its_request() {
    let running = start(ConnectionConfig::default()).await;
    let mut client = Client::connect(running.addr).await;
    client.send("GET /slow HTTP/1.1\r\nhost: test\r\n\r\n").await;
    bounded(running.started.notified()).await;
    drop(client);
    bounded(running.ended.notified()).await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let running = start(ConnectionConfig::default()).await;
    let mut client = Client::connect(running.addr).await;
    client.send("GET /slow HTTP/1.1\r\nhost: test\r\n\r\n").await;
    bounded(running.started.notified()).await;
    client.send("GET /hello/ann HTTP/1.1\r\nhost: test\r\n\r\nGET /hello/bob").await;
    client.send(" HTTP/1.1\r\nhost: test\r\n\r\n").await;
    running.finish.notify_one();
    for body in ["done", "ann", "bob"] {
        assert_eq!(client.read_response().await.body, body);
    }
}

#[tokio::test]
async fn malformed_or_large_head_is_rejected() {
    let running = start(ConnectionConfig::default()).await;
    let long = "x".repeat(200_000);
    let fields: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
    for (head, status) in [
        (format!("GET /hello/ann HTTP/1.1\r\nx-long: {long}\r\n\r\n"), 431),
        (format!("GET /hello/ann HTTP/1.1\r\n{fields}\r\n"), 431),
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), 431),
        (format!("GET /hello/ann?name={} HTTP/1.1\r\nhost: test\r\n\r\n", &long[..70_000]), 431),
        ("GET / HTTP/1.1\r\nbad header\r\n\r\n".to_owned(), 400),
        // The beginning of a TLS handshake.
        ("\x16\x03\x01\x02\0\x01\0\x01\x7f\x03\x03\r\n\r\n".to_owned(), 400),
    ] {
        let mut client = Client::connect(running.addr).await;
        client.send(&head).await;
        let answer = client.read_response().await;
        assert_eq!(answer.status, status, "{}", &head[..40.min(head.len())]);
        assert!(answer.problem()["detail"].is_string());
        client.closed().await;
    }
    let text = running.instance.metrics.render().unwrap();
    let counted = r#"server_connections_closed_total{listener="service",reason="parse"} 6"#;
    assert!(text.contains(counted), "{text}");
}

#[tokio::test(start_paused = true)]
async fn unfinished_head_closes_the_connection() {
    for head in ["", "GET /hello/ann HTTP/1.1\r\nhost: te"] {
        let running = start(ConnectionConfig::default()).await;
        let mut client = Client::connect(running.addr).await;
        client.send(head).await;
        client.closed().await;
    }
}
