//! Peers that end each connection, or that only one address family reaches.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod backend;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use backend::{Backend, call, call_within, until};
use balanced_channel::Channel;
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

#[tokio::test]
async fn peer_that_refuses_every_call_by_goaway_gets_few_connections() {
    const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
    /// NO_ERROR, and the last stream is 0.
    const GOAWAY: &[u8] = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("ipv4:{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    tokio::spawn({
        let connections = connections.clone();
        async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    stream.write_all(SETTINGS).await.unwrap();
                    // A call has set out by then.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    drop(stream.write_all(GOAWAY).await);
                    drop(tokio::io::copy(&mut stream, &mut tokio::io::sink()).await);
                });
            }
        }
    });
    let channel = Channel::new(target).unwrap();
    let end = tokio::time::Instant::now() + Duration::from_millis(1500);
    while tokio::time::Instant::now() < end {
        call_within(&channel, Duration::from_millis(50)).await.unwrap_err();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Two at once, and then with backoff from a second on.
    let connections = connections.load(Ordering::Relaxed);
    assert!((2..=4).contains(&connections), "{connections} connections");
}

#[tokio::test]
async fn either_address_family_of_a_name_will_do() {
    for (ip, other) in [("[::1]:0", "IPv4"), ("127.0.0.1:0", "IPv6")] {
        let Ok(listener) = std::net::TcpListener::bind(ip) else {
            panic!("this test needs the loopback address {ip}");
        };
        let address = listener.local_addr().unwrap();
        drop(listener);
        let backend = Backend::on(address);
        let channel = Channel::new(format!("dns:///localhost:{}", address.port())).unwrap();
        until("the connection", || (channel.snapshot().ready() == 1).then_some(())).await;
        assert_eq!(call(&channel, "").await.unwrap(), backend.address.to_string(), "{other} is dead");
        assert_eq!(channel.snapshot().resolver.endpoints, Some(1), "{other} is no other pod");
    }
}
