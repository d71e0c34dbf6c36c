//! Sends single requests, each over its own connection.

use std::net::SocketAddr;

use service::testing::{Client, Response};

/// Sends a GET request with `path` unchanged.
pub(crate) async fn get(addr: SocketAddr, path: &str) -> Response {
    Client::connect(addr).await.get(path).await
}

/// Sends a request with additional header lines, each ended by CR LF. `more` may also have an empty line and a body.
pub(crate) async fn request(addr: SocketAddr, method: &str, path: &str, more: &str) -> Response {
    let mut client = Client::connect(addr).await;
    let end = if more.contains("\r\n\r\n") { "" } else { "\r\n" };
    client.send(&format!("{method} {path} HTTP/1.1\r\nhost: gw\r\n{more}{end}")).await;
    client.read_response().await
}

/// Returns the `detail` of a response that must be a problem with this status.
#[track_caller]
pub(crate) fn problem(answer: &Response, status: u16) -> String {
    assert_eq!(answer.status, status, "{answer:?}");
    answer.problem()["detail"].as_str().unwrap().to_owned()
}

/// Checks that a response is the problem of a failed upstream call, and that it has no internal details.
#[track_caller]
pub(crate) fn upstream_failure(answer: &Response, status: u16, failure: &str) {
    let detail = problem(answer, status);
    assert_eq!(answer.problem()["failure"], failure, "{answer:?}");
    for internal in ["127.0.0.1", "ipv4:", "http://", ".test", "hyper", "reqwest", "secret"] {
        assert!(!detail.contains(internal), "{detail}");
    }
}
