//! Runs a program of the workspace as a process.

use std::{net::SocketAddr, process::Stdio};

use rustix::process::{Pid, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, ChildStderr, Command},
};

use super::bounded;
pub use rustix::process::Signal;

/// A running program. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    logs: BufReader<ChildStderr>,
    /// The address of its service port.
    pub listen: SocketAddr,
    /// The address of its admin port.
    pub admin: SocketAddr,
}

/// The exit code and output of a program that has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; `None` if a signal killed the program.
    pub code: Option<i32>,
    /// The standard error.
    pub stderr: String,
    /// The standard output.
    pub stdout: String,
}

// === impl Running ===

impl Running {
    /// Starts `exe` on ephemeral ports, with only `env` in its environment, and waits until it listens.
    ///
    /// # Panics
    ///
    /// If the program ends instead, or takes longer than a minute.
    pub async fn start(exe: &str, env: &[(&str, &str)]) -> Self {
        Self::start_with(exe, &[], env).await
    }

    /// Does the same as [`start`](Self::start) with arguments.
    ///
    /// # Panics
    ///
    /// If the program ends instead, or takes longer than a minute.
    pub async fn start_with(exe: &str, arguments: &[&str], env: &[(&str, &str)]) -> Self {
        let ports = [("LISTEN_ADDR", "127.0.0.1:0"), ("ADMIN_ADDR", "127.0.0.1:0"), ("LOG_FORMAT", "json")];
        let mut child = command(exe, arguments, &[&ports, env].concat()).spawn().unwrap();
        let mut logs = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        bounded(logs.read_line(&mut line)).await.unwrap();
        let started: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("{exe} did not start: {line}"));
        let addr = |field: &str| started[field].as_str().unwrap().parse().unwrap();
        Self { listen: addr("listen"), admin: addr("admin"), child, logs }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.try_into().unwrap()));
        kill_process(pid.unwrap(), signal).unwrap();
    }

    /// Waits for a log line that contains `text`, and returns it.
    ///
    /// # Panics
    ///
    /// If the program ends without such a line, or a minute passes.
    pub async fn logs(&mut self, text: &str) -> String {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(bounded(self.logs.read_line(&mut line)).await.unwrap(), 0, "ended without {text:?}");
        }
        line
    }

    /// Waits until the program ends. `stderr` has only what follows the last line that [`logs`](Self::logs) read.
    pub async fn exit(mut self) -> Exit {
        let mut stderr = String::new();
        bounded(self.logs.read_to_string(&mut stderr)).await.unwrap();
        let output = bounded(self.child.wait_with_output()).await.unwrap();
        Exit { code: output.status.code(), stderr, stdout: String::from_utf8(output.stdout).unwrap() }
    }
}

/// Runs `exe` to its end, with only `env` in its environment.
///
/// # Panics
///
/// If the program cannot be started, or runs for longer than a minute.
pub async fn exit_of(exe: &str, arguments: &[&str], env: &[(&str, &str)]) -> Exit {
    let output = bounded(command(exe, arguments, env).output()).await.unwrap();
    Exit {
        code: output.status.code(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
    }
}

fn command(exe: &str, arguments: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(exe);
    command
        .args(arguments)
        .env_clear()
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}
