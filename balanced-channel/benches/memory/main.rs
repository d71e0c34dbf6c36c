//! The memory of an idle connection, compared with other clients in one run.
//!
//! `cargo bench -p balanced-channel --bench memory`
//!
//! Every contestant holds the same number of connections, each to a different server. The servers and each contestant
//! run in separate processes, so that no contestant reuses memory that another has freed. The heap is measured by
//! counting allocations; the resident set is the kernel's figure (Linux). Both are given per connection, as the
//! difference between many connections and a few, so that fixed costs do not count. A number after `--` sets the number
//! of connections: `-- 400` is the default.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

#[path = "../calls/servers.rs"]
mod servers;

mod contestants;

use std::{env, fs, net::SocketAddr, process::Command, time::Duration};

use contestants::{ALL, Contestant};
use servers::Servers;

/// The argument that makes this program one of the contestants. The name of the contestant, the number of connections
/// and all addresses follow.
const CONTESTANT: &str = "--contestant";

/// The number of connections that are subtracted as fixed cost.
const FEW: usize = 20;

fn main() {
    let mut args = env::args().skip(1).filter(|arg| arg != "--bench");
    let first = args.next();
    match first.as_deref() {
        Some(servers::ARGUMENT) => return servers::run(),
        Some(CONTESTANT) => {
            let name = args.next().unwrap();
            let contestant = ALL.into_iter().find(|contestant| contestant.name() == name).unwrap();
            return hold(contestant, &args.map(|address| address.parse().unwrap()).collect::<Vec<_>>());
        }
        _ => {}
    }
    let count = first.map_or(400, |text| text.parse().expect("how many connections"));
    assert!(count > FEW, "of {count} connections none would count; give more than {FEW}");
    let servers = Servers::start(count);
    println!(
        "KiB per connection, of {count}    heap, connected    heap, after a call    resident, after a call"
    );
    for contestant in ALL {
        let kib: Vec<f64> = (0..3).map(|column| per_connection(contestant, &servers, column)).collect();
        println!("  {:<28} {:>16.1} {:>20.1} {:>25.1}", contestant.name(), kib[0], kib[1], kib[2]);
    }
}

/// Returns the KiB per connection beyond the first [`FEW`]. `column` selects the figure: the heap before or after a
/// call, or the resident set.
fn per_connection(contestant: Contestant, servers: &Servers, column: usize) -> f64 {
    let needs = |count: usize| {
        let addresses = servers.addresses[..count].iter().map(SocketAddr::to_string);
        let output = Command::new(env::current_exe().unwrap())
            .args([CONTESTANT, contestant.name()])
            .args(addresses)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let line = String::from_utf8(output.stdout).unwrap();
        line.split_whitespace().nth(column).unwrap().parse::<f64>().unwrap()
    };
    let all = servers.addresses.len();
    (needs(all) - needs(FEW)) / (all - FEW) as f64 / 1024.0
}

/// Connects to all of `servers`, calls each once, and prints the heap before and after, and the
/// resident set, in bytes.
fn hold(contestant: Contestant, servers: &[SocketAddr]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // This thread does all the work, so counting its allocations is enough.
    let mut held = None;
    let connected = allocation_counter::measure(|| {
        held = Some(runtime.block_on(async {
            let connected = contestant.connect(servers).await;
            settle().await;
            connected
        }));
    });
    let mut held = held.unwrap();
    let called = allocation_counter::measure(|| {
        runtime.block_on(async {
            held.call_each().await;
            settle().await;
        });
    });
    let before = connected.bytes_current;
    println!("{before} {} {}", before + called.bytes_current, resident());
    drop(held);
}

/// Lets both sides send their remaining frames after the last call, such as a SETTINGS acknowledgement.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

/// Returns the resident set of this process, in bytes.
fn resident() -> u64 {
    let status =
        fs::read_to_string("/proc/self/status").expect("the resident set is read from /proc (Linux)");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
