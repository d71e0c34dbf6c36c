//! `kubetester demo` as a program: its output and its exit codes.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use service::testing::{Client, Exit, bounded, exit_of};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpStream,
    process::Command,
};

const TOOL: &str = env!("CARGO_BIN_EXE_kubetester");

async fn demo(arguments: &[&str]) -> Exit {
    exit_of(TOOL, &[&["demo", "--listen", "127.0.0.1:0"], arguments].concat(), &[]).await
}

/// Returns the number of calls that the output shows for each pod of a kind, without pods that took none.
fn calls(stdout: &str, kind: &str) -> Vec<u64> {
    let bars = stdout.lines().filter(|line| line.contains('█') && line.trim_start().starts_with(kind));
    bars.map(|line| line.split_whitespace().nth(1).unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn demo_calls_are_spread_over_all_pods() {
    let exit = demo(&["--once"]).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert_eq!(exit.stderr, "", "logs are quiet");
    assert_eq!(calls(&exit.stdout, "hellogrpc"), [4, 4, 4]);
    let http = calls(&exit.stdout, "hellohttp");
    assert!(http.len() > 1 && http.iter().sum::<u64>() == 12, "{http:?}");
    assert!(!exit.stdout.contains("curl"), "there is nothing to call any more: {}", exit.stdout);
}

#[tokio::test]
async fn other_replicas_on_a_single_address_answer() {
    let arguments = ["--once", "--one-address", "--grpc-replicas", "5", "--http-replicas", "1"];
    let exit = demo(&arguments).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    let mut grpc = calls(&exit.stdout, "hellogrpc");
    grpc.sort_unstable();
    assert_eq!(grpc, [2, 2, 2, 3, 3]);
    assert_eq!(calls(&exit.stdout, "hellohttp"), [12]);
}

#[tokio::test]
async fn demo_answers_until_ctrl_c() {
    let mut child = Command::new(TOOL)
        .args(["demo", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut gateway = None;
    let mut commands = Vec::new();
    while let Some(line) = bounded(lines.next_line()).await.unwrap() {
        if let Some(address) = line.trim_start().strip_prefix("helloserve") {
            gateway = address.split_whitespace().next().map(str::to_owned);
        }
        if line.trim_start().starts_with("curl 'http://127.0.0.1:") {
            commands.push(line.clone());
        }
        if line.starts_with("Ctrl-C") {
            break;
        }
    }
    for words in ["/hellogrpc?name=Ann'", "/hellogrpc?via=pick_first'  # one connection"] {
        assert!(commands.iter().any(|line| line.contains(words)), "{commands:?}");
    }
    let mut client = Client::connect(gateway.unwrap().parse().unwrap()).await;
    let answer = client.get("/hellogrpc?name=Ann").await;
    assert!(answer.body.starts_with(r#"{"name":"Ann","version":"v1-helloserve","#), "{answer:?}");

    let kill = Command::new("sh").arg("-c").arg(format!("kill -INT {}", child.id().unwrap())).status();
    assert!(bounded(kill).await.unwrap().success());
    assert_eq!(bounded(child.wait()).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn port_in_use_is_exit_code_3() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let exit = exit_of(TOOL, &["demo", "--once", "--listen", &address], &[]).await;
    assert_eq!(exit.code, Some(3), "{exit:?}");
    assert_eq!(exit.stdout, "");
    assert_eq!(exit.stderr.lines().count(), 1, "{}", exit.stderr);
    assert!(exit.stderr.contains(&address) && exit.stderr.contains("--listen"), "{}", exit.stderr);
}

#[tokio::test]
async fn bad_flags_are_exit_code_2() {
    for arguments in [["--grpc-replicas", "0"], ["--http-replicas", "101"], ["--listen", "here"]] {
        let exit = exit_of(TOOL, &[&["demo", "--once"][..], &arguments].concat(), &[]).await;
        assert_eq!(exit.code, Some(2), "{arguments:?}: {exit:?}");
        assert!(exit.stderr.contains(arguments[0]), "{}", exit.stderr);
    }
}

/// Builds the program that the demo starts, if it is missing. Only `cargo test -p kubetester` has to build it.
async fn ticketing_is_built() {
    let program = Path::new(TOOL).with_file_name("ticketing");
    if !program.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--locked", "-p", "ticketing", "--target-dir"]);
        build.arg(program.ancestors().nth(2).unwrap());
        assert!(build.status().await.unwrap().success());
    }
}

/// Puts the program `from` into `folder`, under another name.
fn linked(from: &str, folder: &Path, name: &str) -> PathBuf {
    let to = folder.join(name);
    // Another file system takes no link.
    fs::hard_link(from, &to).or_else(|_| fs::copy(from, &to).map(drop)).unwrap();
    to
}

#[tokio::test]
async fn repeated_create_at_the_other_program_makes_no_second_customer() {
    ticketing_is_built().await;
    let exit = demo(&["--once", "--with", "ticketing"]).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert_eq!(exit.stderr, "", "logs are quiet");
    assert_eq!(calls(&exit.stdout, "hellogrpc"), [4, 4, 4]);
    let answers: Vec<_> =
        exit.stdout.lines().filter_map(|line| line.split_once(" from ticketing-")).collect();
    let (texts, pods): (Vec<_>, Vec<_>) = answers.into_iter().unzip();
    assert!(pods == ["1", "2", "1", "2"] || pods == ["2", "1", "2", "1"], "{}", exit.stdout);
    for (text, customer) in texts.iter().zip(["customer 1, Ann Lee"; 3].into_iter().chain(["1 customer"])) {
        assert!(text.trim_end().ends_with(customer), "{text}");
    }
}

#[tokio::test]
async fn killed_demo_with_ticketing_leaves_no_program() {
    ticketing_is_built().await;
    let mut child = Command::new(TOOL)
        .args(["demo", "--listen", "127.0.0.1:0", "--with", "ticketing"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut programs: Vec<SocketAddr> = Vec::new();
    while let Some(line) = bounded(lines.next_line()).await.unwrap() {
        if let Some(address) = line.strip_prefix("  ticketing-") {
            programs.push(address.split_whitespace().nth(1).unwrap().parse().unwrap());
        }
        if line.starts_with("Ctrl-C") {
            break;
        }
    }
    assert_eq!(programs.len(), 2);
    bounded(child.kill()).await.unwrap();
    bounded(async {
        for program in programs {
            while TcpStream::connect(program).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn unbuilt_ticketing_is_one_sentence_with_the_build_command() {
    let folder = tempfile::tempdir().unwrap();
    let tool = linked(TOOL, folder.path(), "kubetester");
    let arguments = ["demo", "--once", "--listen", "127.0.0.1:0", "--with", "ticketing"];
    let exit = exit_of(tool.to_str().unwrap(), &arguments, &[]).await;
    let stderr = format!(
        "kubetester: {} does not exist: build it with `cargo build --release -p ticketing`, or leave out \
         --with ticketing\n",
        folder.path().join("ticketing").display()
    );
    assert_eq!(exit, Exit { code: Some(3), stderr, stdout: String::new() });
}

#[tokio::test]
async fn ticketing_that_does_not_start_is_one_sentence_with_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let tool = linked(TOOL, folder.path(), "kubetester");
    let program = linked("/bin/false", folder.path(), "ticketing");
    let arguments = ["demo", "--once", "--listen", "127.0.0.1:0", "--with", "ticketing"];
    let exit = exit_of(tool.to_str().unwrap(), &arguments, &[]).await;
    let stderr = format!("kubetester: starting {} failed: it ended before it listened\n", program.display());
    assert_eq!(exit, Exit { code: Some(3), stderr, stdout: String::new() });
}
