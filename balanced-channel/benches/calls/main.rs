//! The CPU cost of a unary call for the client, compared with other clients in one run.
//!
//! `cargo bench -p balanced-channel --bench calls`
//!
//! The same code drives every contestant with the same bytes, in alternating rounds, against the same three servers,
//! which run in a separate process. The cost is the CPU time of this process per call, user and system, of all its
//! threads; the ratio is to plain `SendRequest` of hyper in the same round. Numbers after `--` set the seconds per
//! measurement and the number of rounds: `-- 1 5` is the default.
//!
//! `-- --only CONTESTANT CALLERS CALLS` makes this number of calls with one contestant (0 is hyper, 3 is this channel,
//! 4 is this channel with call metrics) on a current-thread runtime, for a profiler.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

mod contestants;
mod cpu;
mod only;
mod servers;

use std::time::Duration;

use bytes::Bytes;
use contestants::Contestant;
use http_body_util::{BodyExt as _, Full};
use tokio::{runtime::Runtime, time::Instant};
use tonic::{GrpcMethod, body::Body};

const CALLERS: [usize; 3] = [1, 32, 256];

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let first = args.next();
    if first.as_deref() == Some(servers::ARGUMENT) {
        return servers::run();
    }
    if first.as_deref() == Some(only::ARGUMENT) {
        return only::run(args);
    }
    let seconds = first.map_or(1.0, |text| text.parse().expect("seconds a measurement takes"));
    let rounds = args.next().map_or(5, |text| text.parse().expect("how many rounds"));
    let servers = servers::Servers::start(3);
    println!(
        "CPU microseconds per unary call, client only: median of {rounds} rounds of {seconds} s, and the ratio to hyper: median (least - most)\n"
    );
    for (runtime, name) in [
        (one_thread as fn() -> Runtime, "current-thread runtime"),
        (many_threads, "multi-thread runtime, 2 workers"),
    ] {
        for callers in CALLERS {
            println!("{name}, {callers} callers");
            let runs: Vec<Vec<f64>> = (0..rounds)
                .map(|_| {
                    contestants::ALL
                        .map(|contestant| run(&runtime(), contestant, &servers, callers, seconds))
                        .to_vec()
                })
                .collect();
            for (index, contestant) in contestants::ALL.into_iter().enumerate() {
                let cost = median(runs.iter().map(|run| run[index]));
                let mut ratios: Vec<f64> = runs.iter().map(|run| run[index] / run[0]).collect();
                ratios.sort_by(f64::total_cmp);
                let [low, ratio, high] = [ratios[0], ratios[ratios.len() / 2], ratios[ratios.len() - 1]];
                println!("  {:<28} {cost:>7.1} {ratio:>6.2} ({low:.2} - {high:.2})", contestant.name());
            }
        }
    }
}

fn one_thread() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn many_threads() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Measures the CPU microseconds per call of one contestant.
fn run(
    runtime: &Runtime,
    contestant: Contestant,
    servers: &servers::Servers,
    callers: usize,
    seconds: f64,
) -> f64 {
    runtime.block_on(async {
        let service = contestant.connect(&servers.addresses).await;
        load(&service, callers, Duration::from_secs_f64(seconds / 5.0)).await;
        let before = cpu::used();
        let calls = load(&service, callers, Duration::from_secs_f64(seconds)).await;
        (cpu::used() - before).as_secs_f64() * 1e6 / calls as f64
    })
}

/// Makes calls for `time`. Returns the number of calls.
async fn load(service: &contestants::Connected, callers: usize, time: Duration) -> u64 {
    let until = Instant::now() + time;
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let mut service = service.clone();
            tokio::spawn(async move {
                let mut calls = 0;
                while Instant::now() < until {
                    call(&mut service).await;
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    let mut calls = 0;
    for caller in callers {
        calls += caller.await.unwrap();
    }
    calls
}

/// Makes one call, and reads the response to its end.
async fn call(service: &mut contestants::Connected) {
    let mut body = service.call(request()).await;
    while let Some(frame) = body.frame().await {
        if let Some(trailers) = frame.unwrap().trailers_ref() {
            assert_eq!(trailers["grpc-status"], "0");
        }
    }
}

/// Returns an encoded request of `SayHello` with the name "x".
fn request() -> http::Request<Body> {
    const MESSAGE: Bytes = Bytes::from_static(&[0, 0, 0, 0, 3, 0x0a, 1, b'x']);
    http::Request::post("http://bench/hello.Hello/SayHello")
        .header("te", "trailers")
        // gRPC clients send a user agent. It is set here so that contestants without one have the same cost.
        .header("user-agent", "bench")
        .header("content-type", "application/grpc")
        // Generated clients set this extension.
        .extension(GrpcMethod::new("hello.Hello", "SayHello"))
        .body(Body::new(Full::new(MESSAGE)))
        .unwrap()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
