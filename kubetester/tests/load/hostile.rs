//! Servers that break off, never stop, or speak something else.

use std::net::SocketAddr;

use axum::{Router, body::Body, response::Response};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tonic::{
    service::Routes,
    transport::{Server, server::TcpIncoming},
};

use super::servers::raw;

/// The least that an HTTP/2 server says: an empty SETTINGS frame.
pub(super) const SETTINGS: &[u8] = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// Reads, says `words`, and then nothing any more.
pub(super) async fn stopping(words: &'static [u8]) -> SocketAddr {
    raw(move |mut connection| async move {
        drop(connection.read(&mut [0; 1024]).await);
        drop(connection.write_all(words).await);
        // Until the other side has had enough.
        while connection.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
    })
    .await
}

/// Reads, says `words`, and resets the connection.
pub(super) async fn resetting(words: &'static [u8]) -> SocketAddr {
    raw(move |mut connection| async move {
        drop(connection.read(&mut [0; 1024]).await);
        drop(connection.write_all(words).await);
        connection.set_zero_linger().unwrap();
    })
    .await
}

/// Reads, says `words`, and then `again` as long as the other side takes it.
pub(super) async fn flooding(words: &'static [u8], again: &'static [u8]) -> SocketAddr {
    let again = again.repeat(16 * 1024 / again.len());
    raw(move |mut connection| {
        let again = again.clone();
        async move {
            drop(connection.read(&mut [0; 1024]).await);
            drop(connection.write_all(words).await);
            while connection.write_all(&again).await.is_ok() {}
        }
    })
    .await
}

/// Speaks HTTP/2 and answers every call so.
pub(super) async fn answering(answer: fn() -> Response<Body>) -> SocketAddr {
    let routes = Routes::from(Router::new().fallback(move || async move { answer() }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(TcpIncoming::from(listener)));
    address
}
