//! How often the gateway allocates for a request: a bound that a change for the worse breaks, in any build and on
//! any machine. Only the thread of the gateway is counted; the backends and the caller have threads of their own.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod stage;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
};

use allocation_counter::{AllocationInfo, measure};
use stage::{HANG, gateway, running};
use tokio::{runtime, sync::oneshot};

/// Requests before any is counted: connections are there by then, and buffers have their size.
const WARM_UP: usize = 200;
const COUNTED: usize = 1000;

/// A hellogrpc and a hellohttp on a thread that lives as long as the test.
fn backends() -> [SocketAddr; 2] {
    let (sender, addresses) = std::sync::mpsc::channel();
    thread::spawn(move || {
        current_thread().block_on(async {
            let grpc = running("v1-hellogrpc", "pod-1", |listener, instance| {
                hellogrpc::serve(hellogrpc::Config::default(), listener, instance)
            });
            let http = running("v1-hellohttp", "pod-1", |listener, instance| {
                let config = hellohttp::Config { max_connection_age: HANG, ..hellohttp::Config::default() };
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

/// Asks so many times over one connection, on a thread of its own.
fn asks(addr: SocketAddr, path: &'static str, times: usize) -> oneshot::Receiver<()> {
    let (done, all) = oneshot::channel();
    thread::spawn(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(HANG)).unwrap();
        let mut answer = [0; 4096];
        for _ in 0..times {
            write!(stream, "GET {path}?name=Ann HTTP/1.1\r\nhost: gw\r\n\r\n").unwrap();
            // An answer is small, and is written at once.
            let length = stream.read(&mut answer).unwrap();
            let answer = std::str::from_utf8(&answer[..length]).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("}}"), "{answer}");
        }
        done.send(()).unwrap();
    });
    all
}

/// What the gateway allocates for [`COUNTED`] requests, once it is warm.
fn allocated(path: &'static str) -> AllocationInfo {
    let [grpc, http] = backends();
    let runtime = current_thread();
    let gateway = runtime.block_on(gateway(|config| {
        config.grpc_target = stage::ipv4(grpc);
        config.http_target = format!("http://{http}/hellohttp").parse().unwrap();
    }));
    runtime.block_on(asks(gateway.addr, path, WARM_UP)).unwrap();
    measure(|| runtime.block_on(asks(gateway.addr, path, COUNTED)).unwrap())
}

#[track_caller]
fn at_most(path: &'static str, allocations: u64, bytes: u64) {
    let AllocationInfo { count_total, count_current, bytes_total, .. } = allocated(path);
    let counted = COUNTED as u64;
    println!("{path}: {} allocations of {} bytes a request", count_total / counted, bytes_total / counted);
    assert!(count_total <= allocations * counted, "{path}: {count_total} allocations for {COUNTED} requests");
    assert!(bytes_total <= bytes * counted, "{path}: {bytes_total} bytes for {COUNTED} requests");
    // What is kept after a request is kept for a connection or for the program, not for each request.
    assert!(
        count_current < 100,
        "{path}: {count_current} more are kept after {COUNTED} requests than before"
    );
}

// The bytes vary with how busy the machine is, by half: what comes in pieces is read into more buffers.

#[test]
fn for_a_grpc_call() {
    at_most("/hellogrpc", 53, 30_000);
}

#[test]
fn for_an_http_call() {
    at_most("/hellohttp", 34, 35_000);
}
