//! The options of `drill --on processes`.

use std::str::FromStr;

use rustix::process::Pid;

use super::Readiness;
use crate::drill::{platform::DrillTarget, scenario::Scenario};

/// The error for a drill whose calls have no target.
pub(super) const NO_TARGET: &str = "where do the calls go? Give --on processes a target of load, such as \
                                    --target ipv4:127.0.0.1:50051,127.0.0.1:50052 or --target http://127.0.0.1:8080/";

/// The programs to drill.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "With --on processes")]
pub struct Options {
    /// Start this command as the pod NAME, and end it after the drill; may be repeated. NAME is what answers say, or the
    /// pod's address. The command is split into words as a shell does it, but no shell runs it; it gets NAME in POD_NAME
    #[arg(long, value_name = "NAME=COMMAND")]
    pub pod: Vec<Command>,

    /// Drill a process that runs already; may be repeated. Signals go to this process alone. NAME is what answers say, or
    /// the address [default: the address on which it listens; Linux]. Once killed, it is not started again
    #[arg(long, value_name = "[NAME=]PID")]
    pub pid: Vec<ProcessId>,

    /// The pod NAME is ready when this URL answers 2xx, or when this host:port accepts connections; may be repeated
    /// [default: NAME itself, if it is an address]
    #[arg(long, value_name = "NAME=URL")]
    pub ready: Vec<Ready>,
}

/// A command and the pod that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The name of the pod.
    pub name: String,
    /// The program and its arguments; not empty.
    pub words: Vec<String>,
}

/// A process and the pod that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessId {
    /// The name of the pod, if it is given.
    pub name: Option<String>,
    /// The process.
    pub pid: Pid,
}

/// The readiness check of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    name: String,
    readiness: Readiness,
}

// === impl Options ===

impl Options {
    /// Returns whether any of them is given.
    pub fn are_given(&self) -> bool {
        !(self.pod.is_empty() && self.pid.is_empty() && self.ready.is_empty())
    }

    /// Checks what can be known before anything is started.
    ///
    /// # Errors
    ///
    /// A sentence, if there is nothing to drill, or the scenario cannot be run on it.
    pub fn check(&self, scenario: Scenario, target: Option<&DrillTarget>) -> Result<(), String> {
        if matches!(scenario, Scenario::Scale(_) | Scenario::DnsOutage) {
            return Err(unsupported(scenario));
        }
        if self.pod.is_empty() && self.pid.is_empty() {
            return Err("which programs? Name them with --pod NAME=COMMAND or --pid PID".to_owned());
        }
        if !matches!(target, Some(DrillTarget::Target(_))) {
            return Err(NO_TARGET.to_owned());
        }
        let names = self.pod.iter().map(|pod| &pod.name);
        let mut names: Vec<_> = names.chain(self.pid.iter().filter_map(|pid| pid.name.as_ref())).collect();
        names.sort();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("two pods are called {}; give each a name of its own", pair[0]));
        }
        if let Some(ready) =
            self.ready.iter().find(|ready| !self.pod.iter().any(|pod| pod.name == ready.name))
        {
            return Err(format!("--ready {}=… names no --pod", ready.name));
        }
        for pod in &self.pod {
            self.readiness_of(&pod.name)?;
        }
        match (scenario, self.pid.first()) {
            (Scenario::Restart, Some(ProcessId { name, pid })) => {
                Err(not_restartable(&name.clone().unwrap_or_else(|| format!("process {pid}"))))
            }
            _ => Ok(()),
        }
    }

    /// Returns when a pod is ready.
    pub(super) fn readiness_of(&self, name: &str) -> Result<Readiness, String> {
        if let Some(ready) = self.ready.iter().find(|ready| ready.name == name) {
            return Ok(ready.readiness.clone());
        }
        name.parse().map_err(|_| {
            format!(
                "when is {name} ready? Write --ready {name}=URL or --ready {name}=HOST:PORT, or name the pod by its \
                 address"
            )
        })
    }
}

/// The error for scenarios that programs on this machine cannot have.
pub(super) fn unsupported(scenario: Scenario) -> String {
    format!("drill {scenario} cannot be run on processes; there are kill, freeze and restart")
}

/// The error for a process that the drill cannot start again.
pub(super) fn not_restartable(name: &str) -> String {
    format!(
        "{name} was not started by the drill, which cannot restart it; give its command with --pod NAME=COMMAND"
    )
}

// === impl Command ===

impl FromStr for Command {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, command) = named(text).ok_or("write --pod NAME=COMMAND")?;
        let words =
            shlex::split(command).ok_or_else(|| format!("{command:?} has a quote that does not end"))?;
        match words.is_empty() {
            true => Err(format!("the command of {name} is empty")),
            false => Ok(Self { name: name.to_owned(), words }),
        }
    }
}

// === impl ProcessId ===

impl FromStr for ProcessId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, pid) = match named(text) {
            Some((name, pid)) => (Some(name.to_owned()), pid),
            None => (None, text),
        };
        let number = pid.parse().ok().filter(|pid| *pid > 0).and_then(Pid::from_raw);
        let pid = number.ok_or_else(|| format!("{pid:?} is no process ID"))?;
        Ok(Self { name, pid })
    }
}

// === impl Ready ===

impl FromStr for Ready {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, place) = named(text).ok_or("write --ready NAME=URL or NAME=HOST:PORT")?;
        Ok(Self { name: name.to_owned(), readiness: place.parse()? })
    }
}

/// Splits `NAME=VALUE`; a name is not empty.
fn named(text: &str) -> Option<(&str, &str)> {
    text.split_once('=').filter(|(name, _)| !name.is_empty())
}
