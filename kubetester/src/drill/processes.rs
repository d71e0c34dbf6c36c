//! A drill on the user's own programs: commands that the drill starts, and processes that already run.

pub(crate) mod guard;
#[cfg(target_os = "linux")]
mod listening;
mod options;
mod program;
mod readiness;

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process, test_kill_process},
};

use self::{
    guard::Order,
    options::{Command, ProcessId},
    program::Program,
    readiness::Readiness,
};
pub use self::{guard::main as guard_main, options::Options};
use super::{
    event_log::{EventKind, EventLog},
    platform::{DrillTarget, Platform, PlatformError, ResponseMode},
    scenario::Scenario,
};
use crate::target::Target;

/// The maximum time for a program to end after SIGTERM at the end of the drill. It is then killed.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum time for a program to end after SIGTERM in a restart.
const RESTART_STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// The user's programs.
pub struct Processes(Vec<Pod>);

struct Pod {
    /// The pod's name in answers, or its address.
    name: String,
    process: Process,
}

enum Process {
    /// Started by the drill, and ended by it.
    Started { command: Command, readiness: Readiness, program: Option<Box<Program>> },
    /// Started before the drill.
    Running { pid: Pid, frozen: bool },
}

// === impl Processes ===

impl Processes {
    /// Starts the commands, waits until each is ready, and finds the running processes.
    ///
    /// # Errors
    ///
    /// Fails if a program does not start or ends at once, or if a process does not exist or belongs to another user.
    pub async fn start(options: &Options) -> Result<Self, PlatformError> {
        let mut pods = Vec::new();
        for ProcessId { name, pid } in &options.pid {
            reach(*pid)?;
            let name = match name {
                Some(name) => name.clone(),
                None => address_of(*pid)?,
            };
            pods.push(Pod { name, process: Process::Running { pid: *pid, frozen: false } });
        }
        let starts = options.pod.iter().map(async |command| {
            let readiness = options.readiness_of(&command.name).map_err(PlatformError)?;
            let program = Program::start(command, &readiness).await?;
            let process =
                Process::Started { command: command.clone(), readiness, program: Some(Box::new(program)) };
            Ok(Pod { name: command.name.clone(), process })
        });
        // Waits for all programs before returning an error, so that none is left half started.
        for started in join_all(starts).await {
            pods.push(started?);
        }
        Ok(Self(pods))
    }

    fn process(&mut self, pod: &str) -> Result<&mut Process, PlatformError> {
        let known_pod = self.0.iter_mut().find(|known| known.name == pod);
        known_pod.map(|pod| &mut pod.process).ok_or_else(|| PlatformError(format!("there is no pod {pod}")))
    }
}

#[async_trait]
impl Platform for Processes {
    fn name(&self) -> &'static str {
        "processes"
    }

    async fn target(&mut self, drill_target: &DrillTarget) -> Result<Target, PlatformError> {
        match drill_target {
            DrillTarget::Target(target) => Ok(target.clone()),
            DrillTarget::Gateway(_) | DrillTarget::Direct | DrillTarget::Tonic => {
                Err(PlatformError(options::NO_TARGET.to_owned()))
            }
        }
    }

    async fn pods(&mut self) -> Result<Vec<String>, PlatformError> {
        let alive = self.0.iter().filter(|pod| match &pod.process {
            Process::Started { program, .. } => program.is_some(),
            Process::Running { pid, .. } => test_kill_process(*pid).is_ok(),
        });
        Ok(alive.map(|pod| pod.name.clone()).collect())
    }

    async fn kill(&mut self, pod: &str, event_log: &EventLog) -> Result<(), PlatformError> {
        match self.process(pod)? {
            Process::Started { program, .. } => {
                let mut killed = program.take().ok_or_else(|| not_running(pod))?;
                event_log.record(EventKind::Killed, pod);
                killed.order(Order::Kill).await?;
                killed.ended_within(END_TIMEOUT).await
            }
            Process::Running { pid, .. } => {
                event_log.record(EventKind::Killed, pod);
                signal(*pid, Signal::KILL)
            }
        }
    }

    async fn revive(&mut self, pod: &str, event_log: &EventLog) -> Result<(), PlatformError> {
        match self.process(pod)? {
            Process::Started { command, readiness, program } => {
                *program = Some(Box::new(Program::start(command, readiness).await?));
                event_log.record(EventKind::Ready, pod);
                Ok(())
            }
            // The command of a running process is unknown.
            Process::Running { .. } => Ok(()),
        }
    }

    async fn freeze(&mut self, pod: &str, event_log: &EventLog) -> Result<(), PlatformError> {
        match self.process(pod)? {
            Process::Started { program, .. } => {
                let program = program.as_mut().ok_or_else(|| not_running(pod))?;
                event_log.record(EventKind::Frozen, pod);
                program.order(Order::Freeze).await
            }
            Process::Running { pid, frozen } => {
                // Set before the signal is sent, so that an interrupt leaves no process frozen.
                *frozen = true;
                event_log.record(EventKind::Frozen, pod);
                signal(*pid, Signal::STOP)
            }
        }
    }

    async fn thaw(&mut self, pod: &str, event_log: &EventLog) -> Result<(), PlatformError> {
        event_log.record(EventKind::Thawed, pod);
        match self.process(pod)? {
            Process::Started { program, .. } => {
                program.as_mut().ok_or_else(|| not_running(pod))?.order(Order::Thaw).await
            }
            Process::Running { pid, frozen } => {
                *frozen = false;
                signal(*pid, Signal::CONT)
            }
        }
    }

    async fn scale(&mut self, _: u16, _: &EventLog) -> Result<(), PlatformError> {
        Err(PlatformError(options::unsupported(Scenario::Scale(1))))
    }

    async fn restart(&mut self, event_log: &EventLog) -> Result<(), PlatformError> {
        for Pod { name, process } in &mut self.0 {
            let Process::Started { command, readiness, program } = process else {
                return Err(PlatformError(options::not_restartable(name)));
            };
            let mut old = program.take().ok_or_else(|| not_running(name))?;
            event_log.record(EventKind::Stopping, name);
            old.order(Order::Terminate).await?;
            old.ended_within(RESTART_STOP_TIMEOUT).await?;
            *program = Some(Box::new(Program::start(command, readiness).await?));
            event_log.record(EventKind::Ready, name);
        }
        Ok(())
    }

    async fn set_dns_mode(&mut self, _: ResponseMode, _: &EventLog) -> Result<(), PlatformError> {
        Err(PlatformError(options::unsupported(Scenario::DnsOutage)))
    }

    async fn restore(&mut self) -> Result<(), PlatformError> {
        let ends = self.0.drain(..).map(async |pod| match pod.process {
            Process::Started { program: Some(program), .. } => program.end(END_TIMEOUT).await,
            Process::Started { program: None, .. } | Process::Running { frozen: false, .. } => Ok(()),
            Process::Running { pid, frozen: true } => signal(pid, Signal::CONT),
        });
        join_all(ends).await.into_iter().collect()
    }
}

fn not_running(pod: &str) -> PlatformError {
    PlatformError(format!("{pod} does not run"))
}

/// Returns an error if a process does not exist or cannot be sent signals.
fn reach(pid: Pid) -> Result<(), PlatformError> {
    if pid == rustix::process::getpid() {
        return Err(PlatformError(format!("process {pid} is this program itself")));
    }
    test_kill_process(pid).map_err(|error| unreachable(pid, error))
}

fn signal(pid: Pid, signal: Signal) -> Result<(), PlatformError> {
    kill_process(pid, signal).map_err(|error| unreachable(pid, error))
}

fn unreachable(pid: Pid, error: Errno) -> PlatformError {
    match error {
        Errno::SRCH => PlatformError(format!("there is no process {pid}")),
        Errno::PERM => {
            PlatformError(format!("process {pid} belongs to another user, and cannot be sent signals"))
        }
        error => PlatformError(format!("sending a signal to process {pid} failed: {error}")),
    }
}

/// Returns the address on which a process listens, for a process without a name.
#[cfg(target_os = "linux")]
fn address_of(pid: Pid) -> Result<String, PlatformError> {
    let write = format!("write --pid NAME={pid}, with the name that its answers give or with its address");
    let addresses = listening::addresses(pid).map_err(|error| {
        PlatformError(format!("reading what process {pid} listens on failed: {error}; {write}"))
    })?;
    match &addresses[..] {
        [address] => Ok(address.to_string()),
        [] => Err(PlatformError(format!("process {pid} listens on no TCP port; {write}"))),
        several => {
            let several: Vec<_> = several.iter().map(ToString::to_string).collect();
            Err(PlatformError(format!("process {pid} listens on {}; {write}", several.join(", "))))
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn address_of(pid: Pid) -> Result<String, PlatformError> {
    Err(PlatformError(format!(
        "process {pid} has no name; write --pid NAME={pid}, with the name that its answers give or with its address"
    )))
}
