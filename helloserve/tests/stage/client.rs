//! Requests in one line each, every one over a connection of its own.

use std::net::SocketAddr;

use service::testing::{Answer, Client};

/// `GET` with the path as it stands.
pub(crate) async fn get(addr: SocketAddr, path: &str) -> Answer {
    Client::connect(addr).await.get(path).await
}

/// Any method, with more header lines (each ended by CR LF) and perhaps, after an empty line, a body.
pub(crate) async fn request(addr: SocketAddr, method: &str, path: &str, more: &str) -> Answer {
    let mut client = Client::connect(addr).await;
    let end = if more.contains("\r\n\r\n") { "" } else { "\r\n" };
    client.send(&format!("{method} {path} HTTP/1.1\r\nhost: gw\r\n{more}{end}")).await;
    client.answer().await
}

/// The sentence of an answer that must be a problem of this status.
#[track_caller]
pub(crate) fn problem(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{answer:?}");
    answer.problem()["detail"].as_str().unwrap().to_owned()
}
