//! `kubetester completions` and `kubetester man`, checked with real shells and groff.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use service::testing::exit_of;

const TOOL: &str = env!("CARGO_BIN_EXE_kubetester");

/// Returns the output of a program; `None` if it is not installed.
fn said(program: &str, arguments: &[&str], input: &str) -> Option<std::process::Output> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    drop(writer.join().unwrap());
    Some(output)
}

#[tokio::test]
async fn completion_scripts_have_the_flags_and_no_hidden_commands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let exit = exit_of(TOOL, &["completions", shell], &[]).await;
        assert_eq!((exit.code, &*exit.stderr), (Some(0), ""), "{shell}");
        for word in ["compare", "drill", "pod-from", "max-skew"] {
            assert!(exit.stdout.contains(word), "{shell} does not know {word}");
        }
        assert!(!exit.stdout.contains("until-stdin-closes"), "{shell} knows what is hidden");
        if ["bash", "fish", "zsh"].contains(&shell)
            && let Some(output) = said(shell, &["-n"], &exit.stdout)
        {
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        }
    }
    let exit = exit_of(TOOL, &["completions", "tcsh"], &[]).await;
    assert!(exit.code == Some(2) && exit.stderr.contains("bash"), "{exit:?}");
}

#[tokio::test]
async fn bash_completes_commands_and_flags() {
    let script = exit_of(TOOL, &["completions", "bash"], &[]).await.stdout;
    let ask = |line: &str| {
        let ask = format!(
            "{script}\nCOMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
             _kubetester kubetester \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        said("bash", &["--norc"], &ask).map(|output| String::from_utf8(output.stdout).unwrap())
    };
    if let Some(commands) = ask("kubetester com") {
        assert_eq!(commands.trim(), "compare completions");
        assert_eq!(ask("kubetester load --max-s").unwrap().trim(), "--max-skew");
        assert_eq!(ask("kubetester po").unwrap().trim(), "");
    }
}

#[tokio::test]
async fn manual_has_a_page_for_each_command() {
    let directory = tempfile::tempdir().unwrap();
    let exit = exit_of(TOOL, &["man", directory.path().to_str().unwrap()], &[]).await;
    assert_eq!((exit.code, &*exit.stdout, &*exit.stderr), (Some(0), "", ""));
    let page = |name: &str| std::fs::read_to_string(directory.path().join(name));
    for command in ["call", "compare", "completions", "demo", "diff", "drill", "load", "man", "version"] {
        let page = page(&format!("kubetester-{command}.1")).unwrap();
        clean(&page);
    }
    assert!(page("kubetester-pod.1").is_err(), "it is hidden");
    assert!(page("kubetester-load.1").unwrap().contains("max\\-skew"));
    for command in ["call", "compare", "demo", "describe", "diff", "drill", "echo", "list", "load", "man"] {
        assert!(page(&format!("kubetester-{command}.1")).unwrap().contains("Examples:"), "{command}");
    }
    assert!(page("kubetester.1").unwrap().contains("kubetester drill kill"));
    for shell in ["bash", "fish", "zsh"] {
        let line = format!("kubetester completions {shell} >");
        assert!(page("kubetester-completions.1").unwrap().replace('\\', "").contains(&line), "{shell}");
    }
    let exit = exit_of(TOOL, &["man"], &[]).await;
    assert_eq!(exit.stdout, page("kubetester.1").unwrap());
    clean(&exit.stdout);

    let exit = exit_of(TOOL, &["man", "/nonexistent"], &[]).await;
    assert_eq!((exit.code, exit.stdout), (Some(3), String::new()));
    assert!(exit.stderr.contains("cannot write the manual to /nonexistent: "), "{}", exit.stderr);
}

/// Checks that groff, if installed, prints no warnings.
fn clean(page: &str) {
    assert!(page.contains(".SH NAME") && !page.contains("stdin\\-closes"), "{page}");
    if Path::new("/usr/bin/groff").exists() {
        let output = said("groff", &["-man", "-Tutf8", "-ww"], page).unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
}

#[tokio::test]
async fn version_is_a_command_and_no_hidden_command_is_suggested() {
    let exit = exit_of(TOOL, &["version"], &[]).await;
    assert_eq!((exit.code, exit.stdout), (Some(0), format!("kubetester {}\n", env!("CARGO_PKG_VERSION"))));
    let exit = exit_of(TOOL, &["lod"], &[]).await;
    assert_eq!(exit.code, Some(2), "{exit:?}");
    assert!(exit.stderr.contains("'load'") && !exit.stderr.contains("'pod'"), "{}", exit.stderr);
}
