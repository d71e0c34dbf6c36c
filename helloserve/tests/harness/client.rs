//! Requests in one line each, each over a connection of its own.

use std::net::SocketAddr;

use service::testing::{Answer, Client};

/// Sends `GET` with the path as it is.
pub(crate) async fn get(addr: SocketAddr, path: &str) -> Answer {
    Client::connect(addr).await.get(path).await
}

/// Sends any method with more header lines (each ended by CR LF) and, after an empty line, a body.
pub(crate) async fn request(addr: SocketAddr, method: &str, path: &str, more: &str) -> Answer {
    let mut client = Client::connect(addr).await;
    let end = if more.contains("\r\n\r\n") { "" } else { "\r\n" };
    client.send(&format!("{method} {path} HTTP/1.1\r\nhost: gw\r\n{more}{end}")).await;
    client.answer().await
}

/// Returns the `detail` of a response that must be a problem with this status.
#[track_caller]
pub(crate) fn problem(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{answer:?}");
    answer.problem()["detail"].as_str().unwrap().to_owned()
}

/// Checks that a response is the problem of a failed upstream call, and that it has nothing of the backend's own.
#[track_caller]
pub(crate) fn upstream_failure(answer: &Answer, status: u16, failure: &str) {
    let detail = problem(answer, status);
    assert_eq!(answer.problem()["failure"], failure, "{answer:?}");
    for internal in ["127.0.0.1", "ipv4:", "http://", ".test", "hyper", "reqwest", "secret"] {
        assert!(!detail.contains(internal), "{detail}");
    }
}
