//! The stage of a drill: a system whose pods can be killed, frozen, scaled and restarted.
//!
//! A scenario knows the stage by this trait alone. Whoever implements it notes in the [`EventLog`] what it did to which
//! pod, at the moment it did it: the scenario says what is wanted, the stage knows when it happened.

use std::{fmt, str::FromStr};

use async_trait::async_trait;

use super::event_log::EventLog;
use crate::target::{InvalidTarget, Target};

/// A system that a drill is held on.
///
/// Every method ends by itself, also when what it waits for does not come: with [`Trouble`] then. It may be dropped
/// half way (Ctrl-C), and [`put_back`](Self::put_back) must find its way from there.
#[async_trait]
pub trait Platform: Send {
    /// Returns the name on the command line.
    fn name(&self) -> &'static str;

    /// How calls get to the system, or to its pods.
    async fn target(&mut self, aim: &Aim) -> Result<Target, Trouble>;

    /// The pods that take calls now, by the names that their answers give.
    async fn pods(&mut self) -> Result<Vec<String>, Trouble>;

    /// Ends a pod's process with SIGKILL. Notes [`Killed`](super::event_log::What::Killed).
    async fn kill(&mut self, pod: &str, journal: &EventLog) -> Result<(), Trouble>;

    /// Sees to it that a killed pod, or another in its place, runs; returns when it is ready. Notes
    /// [`Ready`](super::event_log::What::Ready).
    async fn revive(&mut self, pod: &str, journal: &EventLog) -> Result<(), Trouble>;

    /// Stops a pod's process without ending it (SIGSTOP): it accepts and never answers. Notes
    /// [`Frozen`](super::event_log::What::Frozen).
    async fn freeze(&mut self, pod: &str, journal: &EventLog) -> Result<(), Trouble>;

    /// Lets a frozen process go on (SIGCONT). Notes [`Thawed`](super::event_log::What::Thawed).
    async fn thaw(&mut self, pod: &str, journal: &EventLog) -> Result<(), Trouble>;

    /// Makes it so many pods; returns when new ones are ready, and those to go are told to. Notes each of them.
    async fn scale(&mut self, pods: u16, journal: &EventLog) -> Result<(), Trouble>;

    /// Replaces every pod, one after the other, in the way that this system does it; returns when all old ones are
    /// told to stop and all new ones are ready. Notes each of them.
    async fn restart(&mut self, journal: &EventLog) -> Result<(), Trouble>;

    /// Lets the system's DNS server behave so from now on. Notes it.
    async fn dns(&mut self, conduct: Conduct, journal: &EventLog) -> Result<(), Trouble>;

    /// Makes everything as it was before, wherever the drill was left. Called once, at the end.
    async fn put_back(&mut self) -> Result<(), Trouble>;
}

pub use crate::dns::Conduct;

/// Where the calls of a drill go (`--target`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aim {
    /// A path of the system's gateway.
    Gateway(String),
    /// The pods themselves, over a balanced channel in this program.
    Direct,
    /// The pods themselves, over tonic's own `Channel::balance_list`: what there was before.
    Tonic,
    /// Any target that `load` takes.
    Target(Target),
}

/// Why a drill cannot go on, as one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Trouble(pub String);

// === impl Aim ===

impl FromStr for Aim {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "direct" => Ok(Self::Direct),
            "tonic" => Ok(Self::Tonic),
            _ if text.starts_with('/') => Ok(Self::Gateway(text.to_owned())),
            _ => text.parse().map(Self::Target),
        }
    }
}

// === impl Trouble ===

impl Trouble {
    /// Creates an error from the failed operation and its cause.
    pub fn new(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self(format!("{what}: {why}"))
    }
}
