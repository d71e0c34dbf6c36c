//! Servers that break off, never stop, or speak another protocol.

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

/// An empty SETTINGS frame, the first frame of every HTTP/2 server.
pub(super) const SETTINGS: &[u8] = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// Starts a server that reads a request, sends `words` and is then silent.
pub(super) async fn stopping(words: &'static [u8]) -> SocketAddr {
    raw(move |mut connection| async move {
        drop(connection.read(&mut [0; 1024]).await);
        drop(connection.write_all(words).await);
        // Until the client closes the connection.
        while connection.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
    })
    .await
}

/// Starts a server that reads a request, sends `words` and resets the connection.
pub(super) async fn resetting(words: &'static [u8]) -> SocketAddr {
    raw(move |mut connection| async move {
        drop(connection.read(&mut [0; 1024]).await);
        drop(connection.write_all(words).await);
        connection.set_zero_linger().unwrap();
    })
    .await
}

/// Starts a server that reads a request, sends `words` and then repeats `again` until the client closes.
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

/// Starts an HTTP/2 server that answers every call with `answer`.
pub(super) async fn answering(answer: fn() -> Response<Body>) -> SocketAddr {
    speaking_http2(Router::new().fallback(move || async move { answer() })).await
}

/// Speaks HTTP/2 alone.
pub(super) async fn speaking_http2(router: Router) -> SocketAddr {
    let routes = Routes::from(router);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(TcpIncoming::from(listener)));
    address
}
