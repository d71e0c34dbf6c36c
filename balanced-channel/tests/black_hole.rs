//! A peer behind a real network that drops packets, made with a network namespace.
//!
//! Needs Linux, root and iproute2, so the test is ignored by default, and fails where it cannot run:
//! `cargo test -p balanced-channel --test black_hole -- --ignored --exact black_holed_peer_is_avoided_until_it_returns`

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod backend;

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use backend::{Backend, call, list, ready};
use balanced_channel::{Channel, SubchannelSnapshot};
use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep, timeout},
};

/// The environment variable with the listening address of the backend in the namespace.
const LISTEN: &str = "BLACK_HOLE_LISTEN";
/// An address for network tests (RFC 2544), which is not routed.
const HERE: &str = "198.18.255.1";
const THERE: &str = "198.18.255.2:8000";

/// A namespace with a backend, connected to this one by a veth pair.
struct Far {
    name: String,
    near: String,
    backend: Option<Child>,
}

impl Far {
    fn new() -> Self {
        let id = std::process::id();
        let mut far = Self { name: format!("far-{id}"), near: format!("near-{id}"), backend: None };
        let Self { name, near, .. } = &far;
        run("ip", &format!("netns add {name}"));
        run("ip", &format!("link add {near} type veth peer name far netns {name}"));
        run("ip", &format!("address add {HERE}/30 dev {near}"));
        run("ip", &format!("link set {near} up"));
        run("ip", &format!("-n {name} address add 198.18.255.2/30 dev far"));
        run("ip", &format!("-n {name} link set far up"));
        let backend = Command::new("ip")
            .args(["netns", "exec", name])
            .arg(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "backend_in_the_namespace"])
            .env(LISTEN, THERE)
            .stdout(Stdio::null())
            .spawn();
        far.backend = Some(backend.unwrap());
        far
    }

    /// Drops all packets from the namespace, so that neither side sees a FIN or RST.
    fn drop_packets(&self, enabled: bool) {
        let what = if enabled { "add" } else { "delete" };
        run("ip", &format!("-n {} route {what} blackhole {HERE}/32", self.name));
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        if let Some(backend) = &mut self.backend {
            drop(backend.kill());
            drop(backend.wait());
        }
        // The kernel keeps the namespace while it has a connection, so the link is deleted explicitly.
        for arguments in [["link", "delete", &self.near], ["netns", "delete", &self.name]] {
            drop(Command::new("ip").args(arguments).output());
        }
    }
}

fn run(program: &str, arguments: &str) {
    let output = Command::new(program).args(arguments.split_whitespace()).output();
    let output = output.unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{program} {arguments}` failed (it needs root): {why}");
}

#[test]
#[ignore = "is started by the other one"]
fn backend_in_the_namespace() {
    let Ok(listen) = std::env::var(LISTEN) else { return };
    let _backend = Backend::on(listen.parse().unwrap());
    // Runs until the parent kills this process, or for longer than the parent runs.
    std::thread::sleep(Duration::from_secs(120));
}

fn far(channel: &Channel) -> SubchannelSnapshot {
    let address: SocketAddr = THERE.parse().unwrap();
    channel.snapshot().subchannels.into_iter().find(|s| s.address == address).unwrap()
}

#[tokio::test]
#[ignore = "needs root and iproute2, see above"]
async fn black_holed_peer_is_avoided_until_it_returns() {
    let hole = Far::new();
    let backends = Backend::some(2);
    let channel = Channel::new(format!("{},{THERE}", list(&backends))).unwrap();
    ready(&channel, 3).await;

    // Sends 200 calls per second without deadlines, with default settings.
    let stop = Arc::new(AtomicBool::new(false));
    let callers = tokio::spawn({
        let (channel, stop) = (channel.clone(), stop.clone());
        async move {
            let (mut calls, mut pace) = (JoinSet::new(), interval(Duration::from_millis(5)));
            while !stop.load(Ordering::Relaxed) {
                pace.tick().await;
                let channel = channel.clone();
                calls.spawn(async move {
                    let began = Instant::now();
                    let ended = timeout(Duration::from_secs(60), backend::call_without_limit(&channel)).await;
                    (ended.expect("a call must end"), began.elapsed())
                });
            }
            calls.join_all().await
        }
    });
    sleep(Duration::from_secs(1)).await;
    assert!(far(&channel).succeeded > 0, "the peer gets calls");

    hole.drop_packets(true);
    let cut = Instant::now();
    sleep(Duration::from_secs(5)).await;
    let (sent, others) = (far(&channel).started, backends[0].calls());
    assert!(far(&channel).silent, "calls avoid the peer after 5 s");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(far(&channel).started, sent, "the peer gets no more calls");
    assert!(backends[0].calls() > others, "the other backends get calls");

    while far(&channel).in_flight > 0 {
        assert!(cut.elapsed() < Duration::from_secs(40), "calls in flight end when the connection is closed");
        sleep(Duration::from_millis(50)).await;
    }
    let closed = cut.elapsed();
    hole.drop_packets(false);
    while far(&channel).succeeded + far(&channel).failed == far(&channel).started
        && far(&channel).started == sent
    {
        assert!(cut.elapsed() < Duration::from_secs(60), "the peer gets calls again");
        sleep(Duration::from_millis(50)).await;
    }
    let back = cut.elapsed() - closed;
    stop.store(true, Ordering::Relaxed);

    // Calls that were not written to the full socket are retried on other endpoints once the connection is closed.
    // Calls that were written are lost.
    let (mut slowest, mut waited, mut failures) = (Duration::ZERO, 0, Vec::new());
    for (ended, took) in callers.await.unwrap() {
        match ended {
            Ok(()) if took > Duration::from_secs(15) => waited += 1,
            Ok(()) => slowest = slowest.max(took),
            Err(status) => failures.push(status),
        }
    }
    eprintln!(
        "calls in flight ended after {closed:.1?}, called again {back:.1?} after the network was back; \
         {} failed, {waited} were retried on other backends, the slowest of the others took {slowest:.0?}",
        failures.len()
    );
    // At most a third of the calls in 5 s.
    let held = failures.len() + waited;
    assert!(!failures.is_empty() && held <= 350, "{} failed, {waited} waited", failures.len());
    assert!(failures.iter().all(|status| status.code() == tonic::Code::Unavailable), "{failures:?}");
    assert!(slowest < Duration::from_secs(5), "calls to other backends are not delayed");
    call(&channel, "").await.unwrap();
}
