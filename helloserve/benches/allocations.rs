//! Counts the gateway's allocations per request. Only the thread of the gateway is counted; backends and client run on other
//! threads.
//!
//! `cargo bench -p helloserve --bench allocations`

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "../tests/harness/mod.rs"]
mod harness;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
};

use allocation_counter::{AllocationInfo, measure};
use harness::{TEST_TIMEOUT, gateway, running};
use tokio::{runtime, sync::oneshot};

/// The number of requests before the counted ones, which open connections and grow buffers.
const WARM_UP: usize = 200;
const COUNTED: usize = 1000;

/// Starts hellogrpc and hellohttp on a separate thread and returns their addresses.
fn backends() -> [SocketAddr; 2] {
    let (sender, addresses) = std::sync::mpsc::channel();
    thread::spawn(move || {
        current_thread().block_on(async {
            let grpc = running("v1-hellogrpc", "pod-1", |listener, instance| {
                hellogrpc::serve(hellogrpc::Config::default(), listener, instance)
            });
            let http = running("v1-hellohttp", "pod-1", |listener, instance| {
                let mut config = hellohttp::Config::default();
                config.connections.max_connection_age = TEST_TIMEOUT;
                hellohttp::serve(config, listener, instance)
            });
            let (grpc, http) = (grpc.await, http.await);
            sender.send([grpc.addr, http.addr]).unwrap();
            std::future::pending::<()>().await;
        });
    });
    addresses.recv().unwrap()
}

fn current_thread() -> runtime::Runtime {
    runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Sends `times` requests over one connection, on a separate thread.
fn send(addr: SocketAddr, path: &'static str, times: usize) -> oneshot::Receiver<()> {
    let (done, all) = oneshot::channel();
    thread::spawn(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
        let mut answer = [0; 4096];
        for _ in 0..times {
            write!(stream, "GET {path}?name=Ann HTTP/1.1\r\nhost: gw\r\n\r\n").unwrap();
            // A response is small and arrives in one read.
            let length = stream.read(&mut answer).unwrap();
            let answer = std::str::from_utf8(&answer[..length]).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("}}"), "{answer}");
        }
        done.send(()).unwrap();
    });
    all
}

/// Returns the allocations of the gateway for [`COUNTED`] requests.
fn allocated(path: &'static str) -> AllocationInfo {
    let [grpc, http] = backends();
    let runtime = current_thread();
    let gateway = runtime.block_on(gateway(|config| {
        config.grpc_target = harness::ipv4(grpc);
        config.http_target = format!("http://{http}/hellohttp").parse().unwrap();
    }));
    runtime.block_on(send(gateway.addr, path, WARM_UP)).unwrap();
    measure(|| runtime.block_on(send(gateway.addr, path, COUNTED)).unwrap())
}

fn main() {
    for path in ["/hellogrpc", "/hellohttp"] {
        let AllocationInfo { count_total, bytes_total, .. } = allocated(path);
        let counted = COUNTED as u64;
        println!(
            "{path}: {} allocations, {} bytes per request",
            count_total / counted,
            bytes_total / counted
        );
    }
}
