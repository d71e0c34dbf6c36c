//! Connected peers that send nothing, over real sockets.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod backend;

use std::time::Duration;

use backend::{Backend, call, list, ready, until};
use balanced_channel::{Channel, Keepalive};
use tokio::{io::AsyncWriteExt, net::TcpListener, task::JoinHandle};
use tonic::Status;

/// Returns the default settings with shorter times.
fn short() -> Keepalive {
    let time = Duration::from_millis(100);
    Keepalive { probe_time: Some(time), timeout: time, ..Keepalive::default() }
}

fn silent(channel: &Channel) -> usize {
    channel.snapshot().subchannels.iter().filter(|s| s.silent).count()
}

fn calls(channel: &Channel, count: usize) -> Vec<JoinHandle<Result<String, Status>>> {
    (0..count)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move { call(&channel, "").await })
        })
        .collect()
}

#[tokio::test]
async fn calls_without_deadlines_avoid_a_stopped_process_until_it_continues() {
    let backends = Backend::some(3);
    let channel = Channel::builder(list(&backends)).keepalive(short()).build().unwrap();
    ready(&channel, 3).await;
    let stopped = backends[0].freeze();
    let met = calls(&channel, 3);
    until("its silence", || (silent(&channel) == 1).then_some(())).await;
    assert_eq!(channel.snapshot().ready(), 3, "no connection is lost yet");
    for _ in 0..300 {
        assert_ne!(call(&channel, "").await.unwrap(), backends[0].address.to_string());
    }
    assert_eq!(
        met.iter().filter(|call| !call.is_finished()).count(),
        1,
        "only one call is at the stopped process"
    );

    drop(stopped);
    for call in met {
        call.await.unwrap().expect("calls in flight get their responses");
    }
    until("its voice", || (silent(&channel) == 0).then_some(())).await;
    let before = backends[0].calls();
    for _ in 0..30 {
        call(&channel, "").await.unwrap();
    }
    assert_eq!(backends[0].calls() - before, 10);
    assert!(channel.snapshot().subchannels.iter().all(|s| s.last_error.is_none()), "no connection was lost");
}

#[tokio::test]
async fn stopped_process_without_alternative_still_gets_calls() {
    let backend = Backend::start();
    let channel = Channel::builder(list([&backend])).keepalive(short()).build().unwrap();
    ready(&channel, 1).await;
    let stopped = backend.freeze();
    let mut met = calls(&channel, 3);
    until("its silence", || (silent(&channel) == 1).then_some(())).await;
    met.extend(calls(&channel, 3));
    until("six calls", || (channel.snapshot().subchannels[0].in_flight == 6).then_some(())).await;
    drop(stopped);
    for call in met {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn long_calls_to_a_healthy_peer_survive_its_pings() {
    let backends = Backend::some(2);
    let keepalive = Keepalive { time: Duration::from_millis(50), ..short() };
    let channel = Channel::builder(list(&backends)).keepalive(keepalive).build().unwrap();
    ready(&channel, 2).await;
    let long: Vec<_> = (0..8)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move { call(&channel, "1500").await })
        })
        .collect();
    for call in long {
        call.await.unwrap().unwrap();
    }
    let snapshot = channel.snapshot();
    assert!(snapshot.subchannels.iter().all(|s| s.last_error.is_none()));
}

#[tokio::test]
async fn too_many_pings_double_the_time_of_later_connections() {
    const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
    const GOAWAY: &[u8] = b"\0\0\x16\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0btoo_many_pings";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("ipv4:{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                stream.write_all(&[SETTINGS, GOAWAY].concat()).await.unwrap();
                tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.unwrap();
            });
        }
    });
    let channel =
        Channel::builder(target).keepalive(Keepalive::new(Duration::from_secs(60))).build().unwrap();
    let snapshot = until("two complaints", || {
        let snapshot = channel.snapshot();
        (snapshot.too_many_pings == 2).then_some(snapshot)
    })
    .await;
    assert!(snapshot.keepalive_time.unwrap() >= 240.0);
    let why = snapshot.subchannels[0].last_error.clone().unwrap();
    assert!(why.contains("GOAWAY"), "{why}");
}
