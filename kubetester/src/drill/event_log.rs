//! The log of what happened to the system during a drill.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use serde::Serialize;
use tokio::time::Instant;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Event {
    /// The time of the event, in seconds from the start of the load.
    pub at: f64,
    /// The kind of event.
    pub what: What,
    /// To which pod, by the name that its answers give; none when it was not to one.
    pub pod: Option<String>,
}

/// The kinds of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The pod's process was ended with SIGKILL.
    Killed,
    /// The pod was told to stop (SIGTERM).
    Stopping,
    /// The pod's process was stopped (SIGSTOP): its kernel still accepts, and nobody answers.
    Frozen,
    /// The pod's process goes on (SIGCONT).
    Thawed,
    /// The pod, new or back, is ready for calls, and listed where clients look.
    Ready,
    /// The DNS server answers SERVFAIL.
    DnsFails,
    /// The DNS server says nothing.
    DnsSilent,
    /// The DNS server answers every second query.
    DnsLossy,
    /// The DNS server answers again.
    DnsAnswers,
}

/// Notes events. Time begins when it is made.
#[derive(Debug)]
pub struct EventLog {
    start: Instant,
    began: SystemTime,
    events: Mutex<Vec<Event>>,
}

// === impl What ===

impl What {
    /// Returns whether a pod is lost to its clients with it.
    pub fn is_loss(self) -> bool {
        matches!(self, Self::Killed | Self::Stopping | Self::Frozen)
    }

    /// Returns whether a pod is to be found by its clients from now on.
    pub fn is_gain(self) -> bool {
        matches!(self, Self::Ready | Self::Thawed)
    }

    /// To be read after the pod's name, or after nothing.
    pub fn words(self) -> &'static str {
        match self {
            Self::Killed => "was killed",
            Self::Stopping => "was told to stop",
            Self::Frozen => "was frozen",
            Self::Thawed => "goes on",
            Self::Ready => "was ready",
            Self::DnsFails => "DNS answers SERVFAIL",
            Self::DnsSilent => "DNS does not answer",
            Self::DnsLossy => "DNS answers every second query",
            Self::DnsAnswers => "DNS answers again",
        }
    }
}

// === impl EventLog ===

impl Default for EventLog {
    fn default() -> Self {
        Self::new()
    }
}

impl EventLog {
    /// An empty one, that begins now.
    pub fn new() -> Self {
        Self { start: Instant::now(), began: SystemTime::now(), events: Mutex::default() }
    }

    /// When it began.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Notes what happens to a pod now.
    pub fn note(&self, what: What, pod: &str) {
        self.push(self.start.elapsed(), what, Some(pod.to_owned()));
    }

    /// Notes what somebody else, with a clock on the wall, saw happen to a pod. Not before the drill began.
    pub fn note_at(&self, when: SystemTime, what: What, pod: &str) {
        self.push(when.duration_since(self.began).unwrap_or_default(), what, Some(pod.to_owned()));
    }

    /// Notes what happens to no pod in particular.
    pub fn note_all(&self, what: What) {
        self.push(self.start.elapsed(), what, None);
    }

    /// Returns the events so far, in order of time.
    pub fn events(&self) -> Vec<Event> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner).clone();
        events.sort_by(|a, b| a.at.total_cmp(&b.at));
        events
    }

    fn push(&self, at: Duration, what: What, pod: Option<String>) {
        let event = Event { at: at.as_secs_f64(), what, pod };
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}
