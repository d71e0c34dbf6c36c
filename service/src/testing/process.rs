//! A real program as a process of its own.

use std::{net::SocketAddr, process::Stdio};

use rustix::process::{Pid, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, ChildStderr, Command},
};

use super::bounded;
pub use rustix::process::Signal;

/// A program that has started. Dropped, it is killed.
#[derive(Debug)]
pub struct Running {
    child: Child,
    logs: BufReader<ChildStderr>,
    /// The address on which it serves.
    pub listen: SocketAddr,
    /// The address of its admin port.
    pub admin: SocketAddr,
}

/// The end of a program.
#[derive(Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code; none when a signal killed it.
    pub code: Option<i32>,
    /// The standard error.
    pub stderr: String,
    /// The standard output.
    pub stdout: String,
}

// === impl Running ===

impl Running {
    /// Starts `exe` on ports that the system chooses, with nothing but `env` in its environment, and waits until it
    /// listens.
    ///
    /// # Panics
    ///
    /// When it ends instead, or takes a minute.
    pub async fn start(exe: &str, env: &[(&str, &str)]) -> Self {
        Self::start_with(exe, &[], env).await
    }

    /// [`start`](Self::start), with arguments.
    ///
    /// # Panics
    ///
    /// When it ends instead, or takes half a minute.
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

    /// Waits for a line of the logs that has `text` in it, and returns it.
    ///
    /// # Panics
    ///
    /// When the program ends without one, or a minute passes.
    pub async fn logs(&mut self, text: &str) -> String {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(bounded(self.logs.read_line(&mut line)).await.unwrap(), 0, "ended without {text:?}");
        }
        line
    }

    /// Waits until it ends; `stderr` is what it wrote since [`logs`](Self::logs).
    pub async fn exit(mut self) -> Exit {
        let mut stderr = String::new();
        bounded(self.logs.read_to_string(&mut stderr)).await.unwrap();
        let output = bounded(self.child.wait_with_output()).await.unwrap();
        Exit { code: output.status.code(), stderr, stdout: String::from_utf8(output.stdout).unwrap() }
    }
}

/// Runs `exe` to its end, with nothing but `env` in its environment.
///
/// # Panics
///
/// When it cannot be started, or runs for a minute.
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
