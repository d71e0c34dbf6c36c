//! Limits and timeouts of connections, over real sockets.

use std::{io::Write as _, num::NonZeroUsize, time::Duration};

use axum::{Router, body::Body, routing::get};
use http_body_util::BodyExt as _;
use service::{
    http::ConnectionConfig,
    testing::{Client, bounded},
};
use tokio::time::{self, Instant};

use crate::http::{Running, start, start_router};

const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame.
const SETTINGS: &str = "\0\0\0\x04\0\0\0\0\0";

/// Waits until the server has closed a connection for `reason`, and returns the time on the paused clock.
async fn closed_after(running: &Running, reason: &str) -> Duration {
    let line = format!(r#"server_connections_closed_total{{listener="service",reason="{reason}"}} 1"#);
    let began = Instant::now();
    while !running.instance.metrics.render().unwrap().lines().any(|it| it == line) {
        assert!(began.elapsed() < Duration::from_secs(120), "no connection was closed: {reason}");
        time::sleep(Duration::from_secs(1)).await;
    }
    began.elapsed()
}

#[track_caller]
fn assert_counted(running: &Running, line: &str) {
    let text = running.instance.metrics.render().unwrap();
    assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
}

#[tokio::test(start_paused = true)]
async fn silent_client_or_unfinished_preface_is_closed() {
    for first in ["", &PREFACE[..10], PREFACE] {
        let running = start(ConnectionConfig::default()).await;
        let mut client = Client::connect(running.addr).await;
        client.send(first).await;
        let after = closed_after(&running, "opening").await;
        assert!(after < Duration::from_secs(20), "{first:?}: {after:?}");
        client.closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn idle_http2_connection_gets_a_goaway() {
    let idle = Duration::from_secs(30);
    let running = start(ConnectionConfig { max_connection_idle: idle, ..ConnectionConfig::default() }).await;
    let mut client = Client::connect(running.addr).await;
    client.send(PREFACE).await;
    client.send(SETTINGS).await;
    let after = closed_after(&running, "idle").await;
    assert!(after >= idle, "{after:?}");
}

#[tokio::test]
async fn connection_above_the_limit_gets_503() {
    let config =
        ConnectionConfig { max_connections: NonZeroUsize::new(2).unwrap(), ..ConnectionConfig::default() };
    let running = start(config).await;
    let mut open = [Client::connect(running.addr).await, Client::connect(running.addr).await];
    for client in &mut open {
        assert_eq!(client.get("/hello/ann").await.status, 200);
    }
    let mut refused = Client::connect(running.addr).await;
    let answer = refused.get("/hello/ann").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(answer.header("connection"), Some("close"));
    refused.ended().await;
    assert_counted(&running, r#"server_connections_refused_total{listener="service"} 1"#);
    assert_counted(&running, r#"server_connections_open{listener="service"} 2"#);

    // Once a connection has ended, another one is accepted.
    drop(open);
    bounded(async { while Client::connect(running.addr).await.get("/hello/ann").await.status != 200 {} })
        .await;
}

#[tokio::test]
async fn connections_of_the_backlog_are_served_at_shutdown() {
    // More than tokio's budget accepts at once (128), and no more than fit into the backlog (somaxconn).
    let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok();
    let clients = limit.and_then(|limit| limit.trim().parse().ok()).unwrap_or(128).min(1000);
    let running = start(ConnectionConfig {
        max_connections: NonZeroUsize::new(clients + 1).unwrap(),
        ..ConnectionConfig::default()
    })
    .await;
    // The runtime has one thread, so without an await the server accepts none of them before it closes.
    let queued: Vec<_> = (0..clients)
        .map(|_| {
            let mut client = std::net::TcpStream::connect(running.addr).unwrap();
            client.write_all(b"GET /hello/ann HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
            client.set_nonblocking(true).unwrap();
            Client::from(tokio::net::TcpStream::from_std(client).unwrap())
        })
        .collect();
    running.trigger.close();
    for mut client in queued {
        assert_eq!(client.read_response().await.body, "ann");
    }
    bounded(running.server).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn client_that_reads_nothing_is_closed() {
    const SIZE: usize = 64 << 20;
    let router = Router::new().route("/large", get(|| async { vec![0_u8; SIZE] }));
    for draining in [false, true] {
        let running = start_router(router.clone(), ConnectionConfig::default()).await;
        let mut client = Client::connect(running.addr).await;
        client.send_get("/large").await;
        if draining {
            running.trigger.drain();
        }
        let after = closed_after(&running, "stalled").await;
        assert_eq!(after < Duration::from_secs(20), draining, "{after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn response_that_waits_for_its_handler_is_not_stalled() {
    let slow = || async {
        let frames = futures_util::stream::unfold(0, |count| async move {
            time::sleep(Duration::from_secs(120)).await;
            (count < 2).then(|| (Ok::<_, std::io::Error>("x"), count + 1))
        });
        Body::from_stream(frames)
    };
    let running = start_router(Router::new().route("/slow", get(slow)), ConnectionConfig::default()).await;
    let response = bounded_hour(async {
        let stream = tokio::net::TcpStream::connect(running.addr).await.unwrap();
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get("/slow").header("host", "test").body(Body::empty()).unwrap();
        sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes()
    });
    assert_eq!(response.await, "xx");
}

async fn bounded_hour<F: Future>(future: F) -> F::Output {
    time::timeout(Duration::from_secs(3600), future).await.unwrap()
}
