//! A user's program that the drill has started.

use std::{fs::File, io, os::unix::fs::FileExt as _, process::Stdio, time::Duration};

use futures_util::FutureExt as _;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    time::{Instant, sleep, timeout},
};

use super::{
    Readiness,
    guard::{self, Order},
    options::Command,
};
use crate::{drill::platform::PlatformError, sanitize};

/// The maximum time for a program to become ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// The interval between readiness checks.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The number of bytes at the end of the output that are searched for its last line.
const MAX_OUTPUT_TAIL: u64 = 4096;

/// A program that runs behind its [guard](super::guard). The guard kills it when this is dropped.
pub(super) struct Program {
    /// The pod's name, for error messages.
    name: String,
    orders: ChildStdin,
    events: Lines<BufReader<ChildStdout>>,
    /// The program's output.
    output: File,
    _guard: Child,
}

// === impl Program ===

impl Program {
    /// Starts a command, and waits until it is ready.
    pub(super) async fn start(command: &Command, readiness: &Readiness) -> Result<Self, PlatformError> {
        let Command { name, words } = command;
        let failed = |cause: &dyn std::fmt::Display| {
            PlatformError(format!("starting {name} ({}) failed: {cause}", words[0]))
        };
        // Another program that listens there would be mistaken for this one.
        if readiness.is_ready().await {
            return Err(failed(&format_args!("{readiness} answers already; end what listens there")));
        }
        let mut program = Self::spawn(name, words).map_err(|error| failed(&error))?;
        match program.event().await {
            Some(event) if event.starts_with("started ") => {}
            Some(event) => return Err(failed(&event.strip_prefix("failed ").unwrap_or(&event))),
            None => return Err(failed(&"its guard has ended")),
        }
        let until = Instant::now() + READY_TIMEOUT;
        let ready = async {
            while !readiness.is_ready().await {
                if Instant::now() > until {
                    return false;
                }
                sleep(POLL_INTERVAL).await;
            }
            true
        };
        let ready = tokio::select! {
            ready = ready => Ok(ready),
            ended = program.events.next_line() => Err(ended.ok().flatten()),
        };
        match ready {
            Ok(true) => Ok(program),
            Ok(false) => {
                let waited = humantime::format_duration(READY_TIMEOUT);
                let last = program.last_line();
                Err(PlatformError(format!(
                    "{readiness} is not ready {waited} after {name} was started{last}"
                )))
            }
            Err(event) => Err(program.ended_by_itself(event.as_deref())),
        }
    }

    fn spawn(name: &str, words: &[String]) -> io::Result<Self> {
        let output = tempfile::tempfile()?;
        let mut guard = tokio::process::Command::new(std::env::current_exe()?)
            .arg(guard::ARGUMENT)
            .args(words)
            .env("POD_NAME", name)
            // A new process group, so that Ctrl-C reaches only this process, which restores the system.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(output.try_clone()?)
            .spawn()?;
        let orders = guard.stdin.take().expect("it is piped");
        let events = BufReader::new(guard.stdout.take().expect("it is piped")).lines();
        Ok(Self { name: name.to_owned(), orders, events, output, _guard: guard })
    }

    /// Sends an order to the guard.
    ///
    /// # Errors
    ///
    /// Fails if the program has ended before.
    pub(super) async fn order(&mut self, order: Order) -> Result<(), PlatformError> {
        if let Some(event) = self.event().now_or_never() {
            return Err(self.ended_by_itself(event.as_deref()));
        }
        match self.orders.write_all(order.line().as_bytes()).await {
            Ok(()) => Ok(()),
            Err(_) => {
                let event = self.event().await;
                Err(self.ended_by_itself(event.as_deref()))
            }
        }
    }

    /// Waits until the program has ended after an order.
    pub(super) async fn ended_within(mut self, limit: Duration) -> Result<(), PlatformError> {
        let ended = timeout(limit, self.event()).await;
        let limit = humantime::format_duration(limit);
        ended.map(drop).map_err(|_| PlatformError(format!("{} does not end within {limit}", self.name)))
    }

    /// Ends the program with SIGTERM, or with SIGKILL after `limit`.
    ///
    /// # Errors
    ///
    /// Fails if the program has ended before.
    pub(super) async fn end(mut self, limit: Duration) -> Result<(), PlatformError> {
        self.order(Order::Terminate).await?;
        // A frozen program handles the signal only after it is resumed.
        drop(self.order(Order::Thaw).await);
        if timeout(limit, self.event()).await.is_err() {
            drop(self.orders.write_all(Order::Kill.line().as_bytes()).await);
            drop(timeout(limit, self.event()).await);
        }
        Ok(())
    }

    /// Returns the guard's next line, or `None` if the guard has ended.
    async fn event(&mut self) -> Option<String> {
        self.events.next_line().await.ok().flatten()
    }

    /// Returns the error for a program that ended without an order.
    fn ended_by_itself(&self, event: Option<&str>) -> PlatformError {
        let status = event.and_then(|event| event.strip_prefix("ended "));
        let status = status.map(|status| format!(" ({status})")).unwrap_or_default();
        PlatformError(format!("{} ended by itself{status}{}", self.name, self.last_line()))
    }

    /// Returns the last line that the program has written, after a colon.
    fn last_line(&self) -> String {
        let size = self.output.metadata().map_or(0, |file| file.len());
        let mut end = vec![0; MAX_OUTPUT_TAIL.min(size) as usize];
        // Unlike a seek, this does not change the offset at which the program writes.
        if self.output.read_exact_at(&mut end, size.saturating_sub(MAX_OUTPUT_TAIL)).is_err() {
            return String::new();
        }
        let text = String::from_utf8_lossy(&end);
        let line = text.lines().rev().find(|line| !line.trim().is_empty());
        line.map(|line| format!(": {}", sanitize::reason(line.trim().to_owned()))).unwrap_or_default()
    }
}
