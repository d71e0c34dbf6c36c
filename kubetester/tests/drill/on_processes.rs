//! A drill on the user's own programs: real processes are killed, frozen and restarted, and end with the drill.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use kubetester::loopback::Block;
use rustix::process::Signal;
use serde_json::Value;
use service::testing::{Exit, bounded};
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::sleep,
};

use super::{
    TOOL, drill,
    left_behind::{children_of, gone, send, start, state},
    schema,
};

/// Loopback addresses that no other test uses.
struct Addresses(Block);

impl Addresses {
    fn claim() -> Self {
        Self(Block::claim().unwrap().unwrap())
    }

    fn address(&self, host: u8) -> SocketAddr {
        SocketAddr::new(self.0.address(host).into(), 9000)
    }

    /// Returns the value of `--pod` for a greeter on the address of `host`.
    fn pod(&self, host: u8) -> String {
        format!("{}={}", self.address(host), greeter(self.address(host)))
    }

    /// Returns the value of `--target` for the first `count` greeters.
    fn target(&self, count: u8) -> String {
        let list: Vec<_> = (1..=count).map(|host| self.address(host).to_string()).collect();
        format!("ipv4:{}", list.join(","))
    }
}

/// Returns the command of a gRPC server that answers after 5 ms.
fn greeter(address: SocketAddr) -> String {
    let admin = SocketAddr::new(address.ip(), 0);
    format!("'{TOOL}' pod hellogrpc --listen-addr {address} --admin-addr {admin} --response-delay 5ms")
}

/// Runs a drill on processes, which calls the first `count` addresses.
async fn on_processes(scenario: &str, addresses: &Addresses, count: u8, more: &[&str]) -> Exit {
    let target = addresses.target(count);
    let arguments = [scenario, "--on", "processes", "--rate", "200", "--target", &target];
    drill(&[&arguments, more].concat()).await
}

fn events(result: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    result["events"].as_array().unwrap().iter().map(|event| text(&event["what"])).collect()
}

/// Asserts that a drill ended with this exit code and one line that has all `words`.
fn assert_failed(exit: &Exit, code: i32, words: &[&str]) {
    assert_eq!((exit.code, exit.stderr.trim_end().lines().count()), (Some(code), 1), "{exit:?}");
    for word in words {
        assert!(exit.stderr.contains(word), "{word:?} is not in {}", exit.stderr);
    }
}

#[tokio::test]
async fn started_programs_are_killed_frozen_and_restarted() {
    for (scenario, happened) in [
        ("kill", &["killed", "ready"][..]),
        ("freeze", &["frozen", "thawed"]),
        ("restart", &["stopping", "ready", "stopping", "ready"]),
    ] {
        let addresses = Addresses::claim();
        let pods = [addresses.pod(1), addresses.pod(2)];
        let more = ["--pod", &pods[0], "--pod", &pods[1], "--patience", "5s", "--json"];
        let exit = on_processes(scenario, &addresses, 2, &more).await;
        assert_eq!((exit.code, exit.stderr.as_str()), (Some(0), ""), "{scenario}: {exit:?}");
        schema::check("kubetester.drill-1", &exit.stdout);
        let result: Value = serde_json::from_str(&exit.stdout).unwrap();
        assert_eq!(result["on"], "processes");
        assert_eq!(events(&result), happened, "{scenario}: {result}");
        let mut pods: Vec<_> =
            result["load"]["pods"].as_array().unwrap().iter().map(|pod| pod["name"].clone()).collect();
        pods.sort_by_key(ToString::to_string);
        assert_eq!(pods, [1, 2].map(|host| Value::from(addresses.address(host).to_string())), "{result}");
        for host in [1, 2] {
            // The bind succeeds only if the program has ended.
            TcpListener::bind(addresses.address(host)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn running_processes_are_named_by_their_address_and_not_started_again() {
    let addresses = Addresses::claim();
    let servers = [serve(&addresses, 1).await, serve(&addresses, 2).await];
    let pids = [&servers[0], &servers[1]].map(|server| server.id().unwrap());
    let names = pids.map(|pid| pid.to_string());
    let both = ["--pid", &names[0], "--pid", &names[1], "--patience", "5s", "--json"];

    let exit = on_processes("freeze", &addresses, 2, &both).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert_eq!(events(&serde_json::from_str(&exit.stdout).unwrap()), ["frozen", "thawed"]);
    assert!(pids.iter().all(|pid| matches!(state(*pid), Some('S' | 'R'))), "both go on");

    let exit = on_processes("restart", &addresses, 2, &both).await;
    assert_failed(&exit, 2, &["was not started by the drill, which cannot restart it", "--pod NAME=COMMAND"]);

    let exit = on_processes("kill", &addresses, 2, &both).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert_eq!(events(&serde_json::from_str(&exit.stdout).unwrap()), ["killed"]);
    assert_eq!(pids.iter().filter(|pid| matches!(state(**pid), None | Some('Z'))).count(), 1);
}

/// Starts a greeter outside of a drill, and waits until it listens. Without an admin port, it has only one address.
async fn serve(addresses: &Addresses, host: u8) -> Child {
    let address = addresses.address(host).to_string();
    let server = Command::new(TOOL)
        .args(["pod", "hellogrpc"])
        .envs([("LISTEN_ADDR", address.as_str()), ("ADMIN_ADDR", ""), ("POD_NAME", &address)])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    bounded(async {
        while TcpStream::connect(&address).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    server
}

#[tokio::test]
async fn program_that_does_not_start_or_ends_is_one_sentence() {
    let addresses = Addresses::claim();
    let name = addresses.address(1);
    for (command, words) in [
        ("/nowhere/greeter", &["starting ", " (/nowhere/greeter) failed: No such file or directory"][..]),
        (
            "sh -c 'echo first; echo no module named grpc; exit 4'",
            &["ended by itself (exit status: 4): no module"],
        ),
    ] {
        let pods = [addresses.pod(2), format!("{name}={command}")];
        let exit = on_processes("kill", &addresses, 2, &["--pod", &pods[0], "--pod", &pods[1]]).await;
        assert_failed(&exit, 3, words);
    }
    // The drill has started and ended the other program.
    bounded(async {
        while TcpListener::bind(addresses.address(2)).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;

    // If another program listens on the address, it would be mistaken for the pod.
    let _taken = TcpListener::bind(name).await.unwrap();
    let exit = on_processes("kill", &addresses, 1, &["--pod", &addresses.pod(1)]).await;
    assert_failed(&exit, 3, &["answers already"]);
}

#[tokio::test]
async fn process_that_cannot_be_drilled_is_one_sentence() {
    let addresses = Addresses::claim();
    let mut ended = Command::new("true").spawn().unwrap();
    let gone = ended.id().unwrap();
    ended.wait().await.unwrap();
    for (pid, code, words) in [
        (format!("a={gone}"), 3, &[&format!("there is no process {gone}") as &str][..]),
        (gone.to_string(), 3, &["there is no process"]),
        ("a=0".to_owned(), 2, &[]),
        ("a=-1".to_owned(), 2, &[]),
        ("a=b".to_owned(), 2, &[]),
    ] {
        let exit = on_processes("kill", &addresses, 1, &[&format!("--pid={pid}")]).await;
        assert_eq!(exit.code, Some(code), "{pid}: {exit:?}");
        for word in words {
            assert!(exit.stderr.contains(word), "{exit:?}");
        }
    }
    let mut idle = Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
    let exit = on_processes("kill", &addresses, 1, &["--pid", &idle.id().unwrap().to_string()]).await;
    assert_failed(&exit, 3, &["listens on no TCP port; write --pid NAME="]);
    idle.kill().await.unwrap();
}

#[tokio::test]
async fn options_that_do_not_fit_are_bad_usage() {
    let (pod, target) = ("127.0.0.1:9=true", ["--target", "ipv4:127.0.0.1:9"]);
    for (arguments, words) in [
        (&["kill"][..], "which programs? Name them with --pod NAME=COMMAND or --pid PID"),
        (&["scale", "2", "--pod", pod], "there are kill, freeze and restart"),
        (&["kill", "--pod", "a=true"], "--ready a=URL"),
        (&["kill", "--pod", pod, "--pod", pod], "two pods are called 127.0.0.1:9"),
        (&["kill", "--pod", pod, "--ready", "b=http://127.0.0.1/"], "--ready b=… names no --pod"),
        (&["kill", "--pod", pod, "--ready", "127.0.0.1:9=grpc://a:1"], "no http:// or https:// URL"),
        (&["kill", "--pod", "127.0.0.1:9="], "is empty"),
        (&["kill", "--pod", "127.0.0.1:9='a"], "a quote that does not end"),
    ] {
        let exit = drill(&[arguments, &["--on", "processes"], &target].concat()).await;
        assert_eq!(exit.code, Some(2), "{arguments:?}: {exit:?}");
        assert!(exit.stderr.contains(words), "{arguments:?}: {}", exit.stderr);
    }
    let exit = drill(&["kill", "--on", "processes", "--pod", pod]).await;
    assert_failed(&exit, 2, &["where do the calls go?", "--target ipv4:"]);
    let exit = drill(&["kill", "--pod", pod]).await;
    assert_failed(&exit, 2, &["--pod, --pid and --ready are for --on processes"]);
}

/// The load goes to the second greeter, which is not part of the drill.
#[tokio::test]
async fn target_outside_the_drilled_programs_is_an_error() {
    let addresses = Addresses::claim();
    let _elsewhere = serve(&addresses, 2).await;
    let target = format!("grpc://{}", addresses.address(2));
    let pod = addresses.pod(1);
    let exit = drill(&["kill", "--on", "processes", "--pod", &pod, "--target", &target]).await;
    let (drilled, answered) = (addresses.address(1), addresses.address(2));
    let none = format!("none of the drilled pods ({drilled}) has answered a call");
    assert_failed(&exit, 3, &[&none, &format!("came from {answered}"), "--target"]);
}

/// Returns the children of a process, their children, and so on.
fn descendants_of(pid: u32) -> Vec<u32> {
    let children = children_of(pid);
    children.iter().copied().chain(children.iter().flat_map(|child| descendants_of(*child))).collect()
}

#[tokio::test]
async fn programs_and_their_children_do_not_outlive_the_drill() {
    for (signal, code) in [(Signal::INT, Some(3)), (Signal::TERM, Some(3)), (Signal::KILL, None)] {
        let addresses = Addresses::claim();
        // A shell, the greeter, and a process that ignores SIGTERM.
        let pod = format!(
            "{}=sh -c \"(trap '' TERM; while sleep 1; do :; done) & {}\"",
            addresses.address(1),
            greeter(addresses.address(1))
        );
        let target = addresses.target(1);
        let on_pod = ["freeze", "--on", "processes", "--target", &target, "--pod", &pod];
        let tool = start(&[&on_pod[..], &["--steady", "200ms", "--outage", "1m"]].concat());
        let mut started = Vec::new();
        bounded(async {
            while !started.iter().any(|pid| state(*pid) == Some('T')) {
                sleep(Duration::from_millis(10)).await;
                started = descendants_of(tool.id().unwrap());
            }
        })
        .await;
        // Guard, shell, loop, and greeter at least.
        assert!(started.len() >= 4, "{started:?}");
        send(&tool, signal);
        let output = bounded(tool.wait_with_output()).await.unwrap();
        assert_eq!(output.status.code(), code, "{output:?}");
        gone(&started).await;
    }
}
