//! The program as a whole: a case can fail, and is said to have.

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

use std::{net::TcpListener, process::Command};

fn said(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_interop")).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_case_fails_where_nobody_answers() {
    // Whatever listened there is closed again.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let (code, stdout, _) = said(&["--server_port", &port, "--test_case", "empty_unary"]);
    assert_eq!(code, Some(1), "{stdout}");
    assert!(
        stdout.starts_with("FAILED  empty_unary: ") && stdout.ends_with("0 of 1 cases hold\n"),
        "{stdout}"
    );
}

#[test]
fn an_unknown_case_and_a_missing_port_are_refused() {
    let (code, _, stderr) = said(&["--server_port", "1", "--test_case", "nonsense"]);
    assert_eq!((code, stderr.as_str()), (Some(1), "interop: there is no case \"nonsense\"\n"));
    let (code, _, stderr) = said(&[]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("--server_port"), "{stderr}");
}
