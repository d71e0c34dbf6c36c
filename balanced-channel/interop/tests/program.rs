//! Tests of the program: the result of a failed case, and invalid arguments.

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

use std::{net::TcpListener, process::Command};

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_interop")).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn case_without_a_server_fails() {
    // The listener is dropped, so that nothing accepts connections on the port.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let (code, stdout, _) = run(&["--server_port", &port, "--test_case", "empty_unary"]);
    assert_eq!(code, Some(1), "{stdout}");
    assert!(
        stdout.starts_with("FAILED  empty_unary: ") && stdout.ends_with("0 of 1 cases hold\n"),
        "{stdout}"
    );
}

#[test]
fn unknown_case_and_missing_port_are_errors() {
    let (code, _, stderr) = run(&["--server_port", "1", "--test_case", "nonsense"]);
    assert_eq!((code, stderr.as_str()), (Some(1), "interop: there is no case \"nonsense\"\n"));
    let (code, _, stderr) = run(&[]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("--server_port"), "{stderr}");
}
