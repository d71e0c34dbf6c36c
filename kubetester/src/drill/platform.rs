//! The platform of a drill: a system whose pods can be killed, frozen, scaled and restarted.
//!
//! Scenarios depend on this trait only. Implementations record in the [`EventLog`] what happened to which pod, at the
//! time when it happened.

use std::{fmt, str::FromStr};

use async_trait::async_trait;

use super::event_log::EventLog;
use crate::target::{InvalidTarget, Target};

/// A system that can be drilled.
///
/// Every method is bounded in time, and fails with [`PlatformError`] if the state that it waits for is not reached. The
/// future may be dropped at any point (Ctrl-C), and [`restore`](Self::restore) must then restore the system.
#[async_trait]
pub trait Platform: Send {
    /// Returns the name on the command line.
    fn name(&self) -> &'static str;

    /// Returns the target for calls to the system or its pods.
    async fn target(&mut self, drill_target: &DrillTarget) -> Result<Target, PlatformError>;

    /// Returns the pods that take calls now, by the names in their answers.
    async fn pods(&mut self) -> Result<Vec<String>, PlatformError>;

    /// Kills a pod's process (SIGKILL). Records [`Killed`](super::event_log::EventKind::Killed).
    async fn kill(&mut self, pod: &str, event_log: &EventLog) -> Result<(), PlatformError>;

    /// Starts a killed pod, or a replacement, and waits until it is ready. Records
    /// [`Ready`](super::event_log::EventKind::Ready).
    async fn revive(&mut self, pod: &str, event_log: &EventLog) -> Result<(), PlatformError>;

    /// Stops a pod's process without ending it (SIGSTOP): it accepts connections and never answers. Records
    /// [`Frozen`](super::event_log::EventKind::Frozen).
    async fn freeze(&mut self, pod: &str, event_log: &EventLog) -> Result<(), PlatformError>;

    /// Resumes a frozen process (SIGCONT). Records [`Thawed`](super::event_log::EventKind::Thawed).
    async fn thaw(&mut self, pod: &str, event_log: &EventLog) -> Result<(), PlatformError>;

    /// Scales to `pods` pods; waits until new pods are ready and surplus pods terminate. Records each of them.
    async fn scale(&mut self, pods: u16, event_log: &EventLog) -> Result<(), PlatformError>;

    /// Replaces every pod, one after the other, with the platform's own rollout; waits until all old pods terminate and
    /// all new pods are ready. Records each of them.
    async fn restart(&mut self, event_log: &EventLog) -> Result<(), PlatformError>;

    /// Changes how the system's DNS server responds to queries. Records the change.
    async fn set_dns_mode(
        &mut self,
        response_mode: ResponseMode,
        event_log: &EventLog,
    ) -> Result<(), PlatformError>;

    /// Restores the state before the drill, wherever the drill was interrupted. Called once, at the end.
    async fn restore(&mut self) -> Result<(), PlatformError>;
}

pub use crate::dns::ResponseMode;

/// The target of a drill's calls (`--target`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DrillTarget {
    /// A path of the system's gateway.
    Gateway(String),
    /// The pods themselves, over a balanced channel in this program.
    Direct,
    /// The pods themselves, over tonic's own `Channel::balance_list`.
    Tonic,
    /// Any target of `load`.
    Target(Target),
}

/// An error that ends a drill, as one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlatformError(pub String);

// === impl DrillTarget ===

impl FromStr for DrillTarget {
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

// === impl PlatformError ===

impl PlatformError {
    /// Creates an error from the failed operation and its cause.
    pub fn new(operation: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self(format!("{operation}: {cause}"))
    }
}
