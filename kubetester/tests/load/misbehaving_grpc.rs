//! gRPC servers that are absent, break off or do not speak gRPC: each is reported in one sentence, over one connection
//! and over the balanced channel.

use axum::{body::Body, response::Response};

use super::{
    hostile::{SETTINGS, answering, flooding, resetting, stopping},
    load,
    servers::{nobody, saying, silent},
};

fn page() -> Response<Body> {
    Response::builder().header("content-type", "text/html").body(Body::from("<html>hello</html>")).unwrap()
}

fn absent() -> Response<Body> {
    Response::builder().status(404).body(Body::empty()).unwrap()
}

fn grpc(message: &'static [u8]) -> Response<Body> {
    Response::builder().header("content-type", "application/grpc").body(Body::from(message)).unwrap()
}

#[tokio::test]
async fn misbehaving_server_is_one_sentence() {
    // A connection that breaks off can do so before, during or after the call, so the operating system has several errors
    // for it. All of them are one sentence that names the connection.
    let breaks = "the connection|the server closed|reset|is it a gRPC port?";
    let broken = "cannot reach ipv4:127.0.0.1:";
    // The server is reached in time, and then silent.
    let late = "no answer within 1s";
    let http1 = stopping(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    for (server, plain, balanced) in [
        (nobody().await, "nothing listens there", "onnection refused"),
        (silent().await, late, "no connection within 1s"),
        (saying(b"").await, breaks, broken),
        (saying(b"\x00\x01\x02\r\n\r\n").await, breaks, broken),
        (saying(SETTINGS).await, breaks, "ipv4:127.0.0.1:"),
        (resetting(b"").await, breaks, broken),
        (resetting(SETTINGS).await, breaks, "ipv4:127.0.0.1:"),
        (stopping(SETTINGS).await, late, late),
        (flooding(b"", SETTINGS).await, late, "within 1s"),
        (http1, "is it a gRPC port?|ended before the call was sent", broken),
        (
            answering(page).await,
            "HTTP 200 OK with text/html, not gRPC",
            "HTTP 200 OK with text/html, not gRPC",
        ),
        (answering(absent).await, "HTTP 404 Not Found, not gRPC", "HTTP 404 Not Found, not gRPC"),
        (answering(|| grpc(b"")).await, "missing grpc-status", "missing grpc-status"),
        (answering(|| grpc(b"\x00\x00\x00\x00\x64half")).await, "Unexpected EOF", "Unexpected EOF"),
        (answering(|| grpc(b"\x00\xff\xff\xff\xff")).await, "--max-message-size", "--max-message-size"),
        (answering(|| grpc(b"\x01\x00\x00\x00\x01a")).await, "no grpc-encoding", "no grpc-encoding"),
    ] {
        for (target, words) in [(format!("grpc://{server}"), plain), (format!("ipv4:{server}"), balanced)] {
            let patience = if words.contains("1s") { "1s" } else { "10s" };
            let exit = load(&target, &["-n", "6", "-c", "2", "--timeout", patience]).await;
            assert_eq!(exit.code, Some(3), "{target} {words}: {exit:?}");
            assert_eq!(exit.stderr.lines().count(), 1, "{target} {words}: {}", exit.stderr);
            let said = words.split('|').any(|words| exit.stderr.contains(words));
            assert!(said, "{target} {words}: {}", exit.stderr);
        }
    }
}
