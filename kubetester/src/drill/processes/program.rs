//! A program of the user's that the drill has started.

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
use crate::{drill::platform::Trouble, sanitize};

/// The time that a program has until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// The time between two questions whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// The end of the output in which its last line is looked for, in bytes.
const LAST_OUTPUT: u64 = 4096;

/// A program that runs behind its [guard](super::guard). Dropped, it is killed by the guard.
pub(super) struct Program {
    /// Its pod and command, for errors.
    name: String,
    orders: ChildStdin,
    events: Lines<BufReader<ChildStdout>>,
    /// Everything that it has written.
    output: File,
    _guard: Child,
}

// === impl Program ===

impl Program {
    /// Starts a command, and waits until it is ready.
    pub(super) async fn start(command: &Command, readiness: &Readiness) -> Result<Self, Trouble> {
        let Command { name, words } = command;
        let failed = |cause: &dyn std::fmt::Display| {
            Trouble(format!("starting {name} ({}) failed: {cause}", words[0]))
        };
        // Another program that answers there would be taken for this one.
        if readiness.is_ready().await {
            return Err(failed(&format_args!("{readiness} answers already; end what listens there")));
        }
        let mut program = Self::spawn(name, words).map_err(|error| failed(&error))?;
        match program.event().await {
            Some(event) if event.starts_with("started ") => {}
            Some(event) => return Err(failed(&event.strip_prefix("failed ").unwrap_or(&event))),
            None => return Err(failed(&"its guard has ended")),
        }
        let until = Instant::now() + READY_WITHIN;
        let ready = async {
            while !readiness.is_ready().await {
                if Instant::now() > until {
                    return false;
                }
                sleep(ASK_EVERY).await;
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
                let waited = humantime::format_duration(READY_WITHIN);
                let last = program.last_line();
                Err(Trouble(format!("{readiness} is not ready {waited} after {name} was started{last}")))
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
            // A Ctrl-C is for the drill, which has to put things back.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(output.try_clone()?)
            .spawn()?;
        let orders = guard.stdin.take().expect("it is piped");
        let events = BufReader::new(guard.stdout.take().expect("it is piped")).lines();
        Ok(Self { name: name.to_owned(), orders, events, output, _guard: guard })
    }

    /// Has the guard do something to the program.
    ///
    /// # Errors
    ///
    /// Fails if the program has ended before.
    pub(super) async fn order(&mut self, order: Order) -> Result<(), Trouble> {
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

    /// Waits until it has ended, as it was ordered to.
    pub(super) async fn ended_within(mut self, limit: Duration) -> Result<(), Trouble> {
        let ended = timeout(limit, self.event()).await;
        let limit = humantime::format_duration(limit);
        ended.map(drop).map_err(|_| Trouble(format!("{} does not end within {limit}", self.name)))
    }

    /// Ends it: SIGTERM, and SIGKILL if it has not ended by then.
    ///
    /// # Errors
    ///
    /// Fails if the program has ended before.
    pub(super) async fn end(mut self, limit: Duration) -> Result<(), Trouble> {
        self.order(Order::Terminate).await?;
        // A frozen program takes the signal when it goes on.
        drop(self.order(Order::Thaw).await);
        if timeout(limit, self.event()).await.is_err() {
            drop(self.orders.write_all(Order::Kill.line().as_bytes()).await);
            drop(timeout(limit, self.event()).await);
        }
        Ok(())
    }

    /// Returns the next line of the guard; none when the guard has ended.
    async fn event(&mut self) -> Option<String> {
        self.events.next_line().await.ok().flatten()
    }

    /// The error for a program that was not ordered to end.
    fn ended_by_itself(&self, event: Option<&str>) -> Trouble {
        let status = event.and_then(|event| event.strip_prefix("ended "));
        let status = status.map(|status| format!(" ({status})")).unwrap_or_default();
        Trouble(format!("{} ended by itself{status}{}", self.name, self.last_line()))
    }

    /// Returns the last line that the program has written, after a colon.
    fn last_line(&self) -> String {
        let size = self.output.metadata().map_or(0, |file| file.len());
        let mut end = vec![0; LAST_OUTPUT.min(size) as usize];
        // Unlike a seek, this leaves the place where the program writes.
        if self.output.read_exact_at(&mut end, size.saturating_sub(LAST_OUTPUT)).is_err() {
            return String::new();
        }
        let text = String::from_utf8_lossy(&end);
        let line = text.lines().rev().find(|line| !line.trim().is_empty());
        line.map(|line| format!(": {}", sanitize::reason(line.trim().to_owned()))).unwrap_or_default()
    }
}
