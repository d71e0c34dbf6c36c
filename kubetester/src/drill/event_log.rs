//! Records the events of a drill.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use serde::Serialize;
use tokio::time::Instant;

/// An event of a drill.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Event {
    /// The time of the event, in seconds from the start of the load.
    pub at: f64,
    /// The kind of event.
    pub what: EventKind,
    /// The name of the pod in its answers; null if the event does not belong to a single pod.
    pub pod: Option<String>,
}

/// The kinds of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
// The published JSON Schema defines the type as `What`.
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "What"))]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The pod's process was killed (SIGKILL).
    Killed,
    /// The pod began to terminate (SIGTERM).
    Stopping,
    /// The pod's process was stopped (SIGSTOP). The kernel still accepts connections, but no call is answered.
    Frozen,
    /// The pod's process was resumed (SIGCONT).
    Thawed,
    /// The pod is ready for calls and can be discovered by clients.
    Ready,
    /// The DNS server answers SERVFAIL.
    DnsFails,
    /// The DNS server does not answer.
    DnsSilent,
    /// The DNS server answers every second query.
    DnsLossy,
    /// The DNS server answers again.
    DnsAnswers,
}

/// A log of events. Times are measured from its creation.
#[derive(Debug)]
pub struct EventLog {
    start: Instant,
    began: SystemTime,
    events: Mutex<Vec<Event>>,
}

// === impl EventKind ===

impl EventKind {
    /// Returns whether clients lose a pod with this event.
    pub fn is_loss(self) -> bool {
        matches!(self, Self::Killed | Self::Stopping | Self::Frozen)
    }

    /// Returns whether clients can discover a pod from this event on.
    pub fn is_gain(self) -> bool {
        matches!(self, Self::Ready | Self::Thawed)
    }

    /// Describes the event in words that follow the pod's name, if there is one.
    pub fn description(self) -> &'static str {
        match self {
            Self::Killed => "was killed",
            Self::Stopping => "got SIGTERM",
            Self::Frozen => "was frozen",
            Self::Thawed => "resumed",
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
    /// Creates an empty log that starts now.
    pub fn new() -> Self {
        Self { start: Instant::now(), began: SystemTime::now(), events: Mutex::default() }
    }

    /// Returns the start of the log.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Records an event of a pod that happens now.
    pub fn record(&self, what: EventKind, pod: &str) {
        self.push(self.start.elapsed(), what, Some(pod.to_owned()));
    }

    /// Records an event of a pod that another system observed, by its wall-clock time. Times before the start of the
    /// log count as its start.
    pub fn record_at(&self, when: SystemTime, what: EventKind, pod: &str) {
        self.push(when.duration_since(self.began).unwrap_or_default(), what, Some(pod.to_owned()));
    }

    /// Records an event that does not belong to a single pod.
    pub fn record_without_pod(&self, what: EventKind) {
        self.push(self.start.elapsed(), what, None);
    }

    /// Returns the events so far, in chronological order.
    pub fn events(&self) -> Vec<Event> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner).clone();
        events.sort_by(|a, b| a.at.total_cmp(&b.at));
        events
    }

    fn push(&self, at: Duration, what: EventKind, pod: Option<String>) {
        let event = Event { at: at.as_secs_f64(), what, pod };
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}
