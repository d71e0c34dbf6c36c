//! Output that cannot be written is an error; a closed pipe is not.

use std::{
    fs, io,
    net::SocketAddr,
    process::{ExitStatus, Stdio},
};

use service::{
    Identity, Instance, Shutdown, defaults, listen,
    testing::{bounded, exit_of},
};
use tokio::process::Command;

use super::{
    TOOL, compare,
    greeter::{ENDLESS, Reflection, greeter},
    load,
    servers::{Draws, nobody},
};

/// Starts a hellogrpc server, which has the echo service.
async fn hellogrpc() -> SocketAddr {
    let listener = listen::address(([127, 0, 0, 1], 0).into(), "").unwrap();
    let address = listener.local_addr().unwrap();
    let (trigger, shutdown) = Shutdown::new();
    let identity = Identity { version: "v1-hellogrpc".into(), hostname: "pod-a".into() };
    tokio::spawn(async move {
        hellogrpc::serve(defaults(), listener, Instance::new(identity, shutdown)).await.unwrap();
        drop(trigger);
    });
    address
}

/// Returns a command that calls a stream whose messages arrive and which never ends.
fn endless_stream(greeter: SocketAddr) -> String {
    let method = "--method helloworld.Greeter/SayHelloThrice --timeout 1h";
    format!("call grpc://{greeter} {method} -d '{{\"name\": \"{ENDLESS}\"}}'")
}

#[tokio::test]
async fn full_disk_is_exit_code_3_and_one_sentence() {
    let url = Draws::new(&[("pod-a", 100)], 0).url().await;
    let greeter = greeter("pod-a", Reflection::V1).await;
    let hellogrpc = hellogrpc().await;
    let folder = tempfile::tempdir().unwrap();
    let result = folder.path().join("result.json");
    let result = result.to_str().unwrap();
    fs::write(result, load(&url, &["-n", "20", "--json"]).await.stdout).unwrap();
    for command in [
        format!("load {url} -n 20"),
        format!("load {url} -n 20 --json"),
        format!("compare {url} {url} -n 20"),
        format!("load {url} -n 20 -o csv"),
        format!("call {url} -n 1"),
        format!("call {url} -n 2 --every 0"),
        format!("call grpc://{hellogrpc} -n 1 -v"),
        format!("call grpc://{} -n 1", nobody().await),
        endless_stream(greeter),
        "echo --serve --host 127.0.0.1:0".to_owned(),
        format!("echo --host {hellogrpc} -n 1"),
        format!("echo --host {hellogrpc}"),
        format!("list grpc://{greeter}"),
        format!("describe grpc://{greeter}"),
        format!("diff {result} {result}"),
        format!("diff {result} {result} --json"),
        "drill kill --pods 2 --steady 100ms --outage 100ms --settle 100ms".to_owned(),
        "completions bash".to_owned(),
        "man".to_owned(),
        "demo --once --listen 127.0.0.1:0".to_owned(),
        "version".to_owned(),
        "--version".to_owned(),
        "--help".to_owned(),
        "help".to_owned(),
        "load --help".to_owned(),
        "pod --help".to_owned(),
    ] {
        let exit = exit_of("sh", &["-c", &format!("exec {TOOL} {command} > /dev/full")], &[]).await;
        assert_eq!((exit.code, exit.stderr.lines().count()), (Some(3), 1), "{command}: {exit:?}");
        assert!(
            exit.stderr.contains("cannot write to standard output: No space left"),
            "{command}: {exit:?}"
        );
    }
}

#[tokio::test]
async fn error_that_cannot_be_printed_keeps_its_exit_code() {
    let nobody = nobody().await;
    for (command, code) in [
        (format!("load http://{nobody}/ -n 1 > /dev/null"), 3),
        ("load '' -n 1".to_owned(), 2),
        ("drill scale".to_owned(), 2),
        ("--no-such-flag".to_owned(), 2),
    ] {
        let exit = exit_of("sh", &["-c", &format!("exec {TOOL} {command} 2> /dev/full")], &[]).await;
        assert_eq!(exit.code, Some(code), "{command}: {exit:?}");
    }
}

/// Runs a command whose standard output is a pipe that is already closed. Returns its status and standard error.
async fn with_closed_pipe(command: &str) -> (ExitStatus, String) {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let mut sh = Command::new("sh");
    sh.arg("-c").arg(format!("exec {TOOL} {command}"));
    let child = sh.stdout(writer).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let output = bounded(child.wait_with_output()).await.unwrap();
    (output.status, String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn closed_pipe_is_quiet() {
    let url = Draws::new(&[("pod-a", 100)], 0).url().await;
    let greeter = greeter("pod-a", Reflection::V1).await;
    let hellogrpc = hellogrpc().await;
    for command in [
        format!("load {url} -n 20 --json"),
        format!("load {url} -n 20"),
        // These would call for ever, but for the pipe.
        format!("call {url} --every 0"),
        format!("echo --host {hellogrpc}"),
        endless_stream(greeter),
        format!("call {url} -n 2 --every 0"),
        format!("list grpc://{greeter}"),
        "--help".to_owned(),
        "version".to_owned(),
    ] {
        let (status, stderr) = with_closed_pipe(&command).await;
        assert_eq!((status.code(), stderr.as_str()), (Some(0), ""), "{command}");
    }
}

#[tokio::test]
async fn csv_has_a_line_for_each_target_under_one_header() {
    let [a, b] = [Draws::new(&[("pod-a", 100)], 0).url().await, Draws::new(&[("pod-b", 100)], 0).url().await];
    let exit = compare(&[&a, &b, "-n", "20", "-o", "csv"]).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    let lines: Vec<Vec<&str>> = exit.stdout.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 3, "{}", exit.stdout);
    assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{}", exit.stdout);
    let column = |name: &str| lines[0].iter().position(|column| *column == name).unwrap();
    for (line, url) in lines[1..].iter().zip([&a, &b]) {
        assert_eq!((line[column("command")], line[column("target")]), ("compare", url.as_str()));
        assert_eq!([line[column("calls")], line[column("failed")], line[column("pods")]], ["20", "0", "1"]);
        assert!(line[column("p99")].parse::<f64>().unwrap() > 0.0);
        assert_eq!((line[column("findings")], line[column("held")]), ("one-pod", "true"));
    }
}

#[tokio::test]
async fn junit_has_a_case_for_each_expectation() {
    let url = Draws::new(&[("pod-a&<", 100)], 0).url().await;
    let exit = load(&url, &["-n", "20", "-o", "junit", "--expect-pods", "2", "--max-errors", "0"]).await;
    assert_eq!(exit.code, Some(1), "{exit:?}");
    let xml = scraper::Html::parse_fragment(&exit.stdout);
    let all = |what: &str| -> Vec<_> {
        xml.select(&scraper::Selector::parse(what).unwrap()).map(|one| one.value().clone()).collect()
    };
    let names: Vec<_> = all("testcase").iter().map(|case| case.attr("name").unwrap().to_owned()).collect();
    assert_eq!(names, ["--expect-pods", "--max-errors"]);
    let suite = &all("testsuite")[0];
    assert_eq!((suite.attr("tests"), suite.attr("failures")), (Some("2"), Some("1")));
    assert_eq!(all("failure").len(), 1, "{}", exit.stdout);
    assert!(exit.stdout.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>"), "{}", exit.stdout);
    assert!(exit.stdout.ends_with("</testsuites>\n"), "{}", exit.stdout);
}
