//! gRPC servers that are not there, break off, or are none: a sentence each, over one connection and balanced.

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
async fn whatever_the_server_does_there_is_one_sentence() {
    // A balanced channel says what the last attempt to connect came to; which that is depends on who is faster.
    let broken = "cannot reach ipv4:127.0.0.1:";
    let http1 = stopping(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    for (server, plain, balanced) in [
        (nobody().await, "nothing listens there", "onnection refused"),
        (silent().await, "no answer within 300ms", "no connection within 300ms"),
        (saying(b"").await, "the connection|the server closed|reset", broken),
        (saying(b"\x00\x01\x02\r\n\r\n").await, "is it a gRPC port?|reset", broken),
        (saying(SETTINGS).await, "the connection|the server closed|reset", "ipv4:127.0.0.1:"),
        (resetting(b"").await, "reset|the connection ended", broken),
        (resetting(SETTINGS).await, "reset|the connection ended", "ipv4:127.0.0.1:"),
        (stopping(SETTINGS).await, "no answer within 300ms", "no answer within 300ms"),
        (flooding(b"", SETTINGS).await, "no answer within 300ms", "within 300ms"),
        (http1, "the server does not speak HTTP/2 as it should; is it a gRPC port?", broken),
        (answering(page).await, "answers HTTP/2, but no gRPC", "answers HTTP/2, but no gRPC"),
        (answering(absent).await, "HTTP 404 without a gRPC status", "HTTP 404 without a gRPC status"),
        (answering(|| grpc(b"")).await, "missing grpc-status", "missing grpc-status"),
        (answering(|| grpc(b"\x00\x00\x00\x00\x64half")).await, "Unexpected EOF", "Unexpected EOF"),
        (answering(|| grpc(b"\x00\xff\xff\xff\xff")).await, "gRPC OUT_OF_RANGE", "gRPC OUT_OF_RANGE"),
        (answering(|| grpc(b"\x01\x00\x00\x00\x01a")).await, "no grpc-encoding", "no grpc-encoding"),
    ] {
        for (target, words) in [(format!("grpc://{server}"), plain), (format!("ipv4:{server}"), balanced)] {
            let exit = load(&target, &["-n", "6", "-c", "2", "--timeout", "300ms"]).await;
            assert_eq!(exit.code, Some(3), "{target} {words}: {exit:?}");
            assert_eq!(exit.stderr.lines().count(), 1, "{target} {words}: {}", exit.stderr);
            let said = words.split('|').any(|words| exit.stderr.contains(words));
            assert!(said, "{target} {words}: {}", exit.stderr);
        }
    }
}
