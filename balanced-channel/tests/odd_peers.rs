//! Peers that end each connection, that can be reached by one address family only, or that are down; and responses that
//! are large or compressed.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod backend;
#[cfg(all(feature = "deflate", feature = "gzip", feature = "zstd"))]
#[path = "odd_peers/compression.rs"]
mod compression;
#[path = "odd_peers/header_lists.rs"]
mod header_lists;
mod scripted_server;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use backend::{Backend, call, call_within, until};
use balanced_channel::{
    Channel, Connector, Endpoint, Lookup, LookupAnswer, PollingResolver, Refresh, ResolveError,
};
use tokio::{
    io::{AsyncWriteExt as _, DuplexStream, copy, duplex, sink, split},
    net::TcpListener,
    time::{Instant, sleep},
};

#[tokio::test]
async fn peer_that_refuses_every_call_with_goaway_gets_few_connections() {
    const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
    /// A GOAWAY frame with NO_ERROR and the last stream 0.
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
                    // A call has been sent by then.
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
    // Two connections at once, and further ones with a backoff that starts at 1 s.
    let connections = connections.load(Ordering::Relaxed);
    assert!((2..=4).contains(&connections), "{connections} connections");
}

#[tokio::test]
async fn unreachable_address_family_falls_back_to_the_other_family() {
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
        assert_eq!(
            channel.snapshot().resolver.endpoints,
            Some(1),
            "the {other} address is not a second endpoint"
        );
    }
}

/// A lookup that always returns the same two addresses.
struct Unchanged([SocketAddr; 2]);

impl Lookup for Unchanged {
    async fn lookup(&mut self) -> Result<LookupAnswer, ResolveError> {
        Ok(LookupAnswer { endpoints: self.0.map(Endpoint::from).into(), ttl: Duration::from_secs(1) })
    }
}

/// Connects over memory, except to `dead`, and records the attempts there.
#[derive(Clone)]
struct OneDead {
    dead: SocketAddr,
    attempts: Arc<Mutex<Vec<Instant>>>,
}

impl Connector for OneDead {
    type Io = DuplexStream;

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<DuplexStream> {
        if endpoint.address == self.dead {
            self.attempts.lock().unwrap().push(Instant::now());
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (client, server) = duplex(1024);
        tokio::spawn(async move {
            let (mut read, mut write) = split(server);
            write.write_all(b"\0\0\0\x04\0\0\0\0\0").await.unwrap();
            copy(&mut read, &mut sink()).await
        });
        Ok(client)
    }
}

#[tokio::test(start_paused = true)]
async fn unchanged_dns_answer_does_not_reset_the_backoff_of_a_dead_address() {
    const CLIENTS: usize = 1000;
    let dead = SocketAddr::from(([10, 0, 0, 1], 80));
    let addresses = [dead, SocketAddr::from(([10, 0, 0, 2], 80))];
    let started = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let connector = OneDead { dead, attempts: Arc::default() };
            let resolver = PollingResolver::new(Unchanged(addresses), Refresh::default());
            let builder = Channel::builder("dns:///svc:80").resolver(resolver);
            (builder.connector(connector.clone()).build().unwrap(), connector.attempts)
        })
        .collect();
    sleep(Duration::from_secs(60)).await;
    let mut late = Vec::new();
    for (channel, attempts) in &clients {
        assert_eq!(channel.snapshot().ready(), 1);
        let attempts = attempts.lock().unwrap();
        // The waits are 1 s, 1.6 s, 2.56 s and so on, plus or minus a fifth. An attempt per lookup would make sixty.
        assert!((6..=9).contains(&attempts.len()), "{} attempts", attempts.len());
        late.extend(
            attempts.iter().map(|at| (*at - started).as_millis() / 100).filter(|tenth| *tenth >= 150),
        );
    }
    let busiest = (150..600).map(|tenth| late.iter().filter(|at| **at == tenth).count()).max().unwrap();
    assert!(busiest < CLIENTS / 10, "jitter spreads the attempts: {busiest} in a tenth of a second");
}
