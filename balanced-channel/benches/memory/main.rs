//! The memory of an idle connection, beside that of its peers, in one run.
//!
//! `cargo bench -p balanced-channel --bench memory`
//!
//! Every contestant holds as many connections, each to another server; the servers run in a process
//! of their own, and so does each contestant, so that none finds memory that another has left. The
//! heap is counted allocation by allocation, the resident set is the kernel's (Linux). Both are told
//! per connection: the difference between many connections and a few, so that what is there once
//! does not count. A number after `--` is how many connections: `-- 400` is the default.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

#[path = "../calls/servers.rs"]
mod servers;

mod contestants;

use std::{env, fs, net::SocketAddr, process::Command, time::Duration};

use contestants::{ALL, Contestant};
use servers::Servers;

/// The argument that makes this program one of the contestants; its name, how many connections
/// first, and all addresses come after it.
const CONTESTANT: &str = "--contestant";

/// The number of connections that do not count.
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

/// Returns the KiB per connection beyond the first few. `column` selects the figure: the
/// heap before and after a call, or the resident set.
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
    // All work is done by this thread, so counting its allocations counts them all.
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

/// Lets both sides say what they have to say after the last call, such as a SETTINGS acknowledgement.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

/// The resident set of this process, in bytes.
fn resident() -> u64 {
    let status =
        fs::read_to_string("/proc/self/status").expect("the resident set is read from /proc (Linux)");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
