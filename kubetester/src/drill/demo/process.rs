//! A program of the system as a child process, so that it can be killed by a signal.

use std::{fmt, net::SocketAddr, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    time::timeout,
};

use crate::drill::platform::PlatformError;

/// The maximum time until a program listens, or until it ends.
const START_STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// A program that listens. It is killed when dropped, and also ends when this process ends for any reason.
#[derive(Debug)]
pub(super) struct Process {
    name: String,
    child: Child,
    /// The program's standard input, whose closing ends the program. It is not in `child`, which closes it on wait.
    _alive: Option<ChildStdin>,
    /// The address that the program serves on.
    pub(super) listen: SocketAddr,
    /// The address of the admin port.
    pub(super) admin: SocketAddr,
}

/// The first log line of a program.
#[derive(Deserialize)]
struct Started {
    listen: SocketAddr,
    admin: SocketAddr,
}

// === impl Process ===

impl Process {
    /// Starts a program as the pod `name`, with only `env` as its environment, and waits until it listens.
    pub(super) async fn start(
        program: &str,
        name: &str,
        env: &[(&str, String)],
    ) -> Result<Self, PlatformError> {
        let failed =
            |why: &dyn std::fmt::Display| PlatformError::new(format_args!("cannot start {name}"), why);
        let tool = std::env::current_exe().map_err(|error| failed(&error))?;
        let mut child = Command::new(tool)
            .args(["pod", "--until-stdin-closes", program])
            .env_clear()
            .envs([("POD_NAME", name), ("LOG_FORMAT", "json")])
            .envs(env.iter().map(|(key, value)| (key, value)))
            // A new process group, so that Ctrl-C reaches only this process, which restores the system.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(&error))?;
        let mut logs = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut line = String::new();
        match timeout(START_STOP_TIMEOUT, logs.read_line(&mut line)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(failed(&error)),
            Err(_) => return Err(failed(&format_args!("it does not listen after {START_STOP_TIMEOUT:?}"))),
        }
        let Ok(Started { listen, admin }) = serde_json::from_str(&line) else {
            return Err(failed(&line.trim()));
        };
        // Output is read to the end, because a full pipe would block the program.
        tokio::spawn(
            async move { while logs.read_line(&mut String::new()).await.is_ok_and(|read| read > 0) {} },
        );
        Ok(Self { name: name.to_owned(), _alive: child.stdin.take(), child, listen, admin })
    }

    /// Sends a signal.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), PlatformError> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let pid = pid.ok_or_else(|| PlatformError(format!("{} has ended by itself", self.name)))?;
        kill_process(pid, signal)
            .map_err(|error| PlatformError::new(format_args!("cannot send {} a signal", self.name), error))
    }

    /// Waits until the program has ended.
    pub(super) async fn ended(mut self) -> Result<(), PlatformError> {
        match timeout(START_STOP_TIMEOUT, self.child.wait()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(PlatformError::new(format_args!("cannot wait for {}", self.name), error)),
            Err(_) => Err(PlatformError(format!("{} does not end within {START_STOP_TIMEOUT:?}", self.name))),
        }
    }

    /// Ends the program, even if it is frozen.
    pub(super) async fn end(mut self) -> Result<(), PlatformError> {
        // The program may already have ended.
        drop(self.child.start_kill());
        self.ended().await
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
