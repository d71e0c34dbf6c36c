//! Counts streams: how many each pod holds, how many ended, and where they were opened again.

use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
    time::Duration,
};

use super::{End, Opened};
use crate::tally::{Latency, MAX_PODS, Sample, Tally};

/// A change of one stream.
#[derive(Debug)]
pub(super) struct Event {
    /// The number of the stream, from 0.
    pub(super) number: usize,
    /// The time of the change, counted from the start.
    pub(super) at: Duration,
    pub(super) change: Change,
}

/// The kind of a change.
#[derive(Debug)]
pub(super) enum Change {
    /// The response headers arrived.
    Opened { opened: Opened, took: Duration },
    /// The stream could not be opened.
    NotOpened { end: End, took: Duration },
    /// A message arrived that is the first or names the pod. `after` is the time from the call to the first.
    Message { pod: Option<String>, after: Option<Duration> },
    /// The stream ended after it was open.
    Ended(End),
}

/// The streams so far.
#[derive(Debug, Default)]
pub struct StreamStats {
    streams: Vec<Stream>,
    untried: usize,
    /// The time at which each stream had been opened, or failed to open, for the first time.
    pub settled: Option<Duration>,
    /// Streams that were opened.
    pub opened: u64,
    /// Streams that took the place of one that had ended.
    pub reopened: u64,
    /// Attempts to open a stream that failed.
    pub not_opened: u64,
    /// Streams that ended before they were to be closed.
    pub ended: u64,
    /// The streams of each pod.
    pub pods: BTreeMap<String, PodStreamStats>,
    /// The streams that ended early, by status and pod.
    pub endings: BTreeMap<(String, Option<String>), Endings>,
    /// Streams that were opened again, by the pods before and after.
    pub moves: BTreeMap<(String, String), u64>,
    /// Each stream as one call: one that is held or ended with OK succeeded, and its latency is the time to open it.
    pub tally: Tally,
}

/// The streams of one pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodStreamStats {
    /// Streams that are open.
    pub held: u64,
    /// Streams that were opened.
    pub opened: u64,
    /// Streams that ended early.
    pub ended: u64,
    /// The time at which its first stream was opened.
    pub first_at: Duration,
}

/// Streams that ended early in the same way.
#[derive(Debug, Clone, Default)]
pub struct Endings {
    /// The time that each had been open.
    pub lifetimes: Latency,
    /// The time at which the first of them ended.
    pub first_at: Duration,
    /// The time at which the last of them ended.
    pub last_at: Duration,
}

/// One of the streams that are to be held.
#[derive(Debug, Clone, Default)]
struct Stream {
    tried: bool,
    open: Option<Open>,
    /// True if a stream of this number has ended.
    ended: bool,
    /// The pod of the stream that ended last, until its successor's pod is known.
    previous: Option<String>,
}

/// A stream that is open.
#[derive(Debug, Clone)]
struct Open {
    at: Duration,
    took: Duration,
    pod: Option<String>,
    peer: Option<SocketAddr>,
}

// === impl StreamStats ===

impl StreamStats {
    pub(super) fn new(streams: usize) -> Self {
        Self { streams: vec![Stream::default(); streams], untried: streams, ..Self::default() }
    }

    /// Returns the number of streams that are to be held.
    pub fn wanted(&self) -> u64 {
        self.streams.len() as u64
    }

    /// Returns the number of streams that are open.
    pub fn held(&self) -> u64 {
        self.streams.iter().filter(|stream| stream.open.is_some()).count() as u64
    }

    /// Returns the number of open streams whose pod is not known.
    pub fn held_unnamed(&self) -> u64 {
        self.open().filter(|open| open.pod.is_none()).count() as u64
    }

    /// Returns the endpoints to which open streams lead; `None` if that of a stream is not known.
    pub fn peers(&self) -> Option<HashSet<SocketAddr>> {
        self.open().map(|open| open.peer).collect()
    }

    fn open(&self) -> impl Iterator<Item = &Open> {
        self.streams.iter().filter_map(|stream| stream.open.as_ref())
    }

    pub(super) fn record(&mut self, event: Event) {
        let Event { number, at, change } = event;
        let stream = &mut self.streams[number];
        if !stream.tried && matches!(change, Change::Opened { .. } | Change::NotOpened { .. }) {
            stream.tried = true;
            self.untried -= 1;
            if self.untried == 0 {
                self.settled = Some(at);
            }
        }
        match change {
            Change::Opened { opened: Opened { pod, peer }, took } => {
                self.opened += 1;
                self.reopened += u64::from(stream.ended);
                stream.open = Some(Open { at, took, pod: None, peer });
                if let Some(pod) = pod {
                    self.name(number, pod);
                }
            }
            Change::NotOpened { end, took } => {
                self.not_opened += 1;
                let error = end.error.or(Some(end.status));
                self.tally.record(Sample { at, latency: took, error, ..Sample::default() });
            }
            Change::Message { pod, after } => {
                if let Some(after) = after {
                    self.tally.first_message.record(after);
                }
                if let Some(pod) = pod {
                    self.name(number, pod);
                }
            }
            Change::Ended(end) => self.end(number, at, end),
        }
    }

    /// Counts the streams that are open as calls that succeeded. Nothing is recorded after it.
    pub(super) fn close(&mut self, messages: u64) {
        self.tally.messages = Some(messages);
        for open in self.streams.iter().filter_map(|stream| stream.open.as_ref()) {
            self.tally.record(open.sample());
        }
    }

    fn name(&mut self, number: usize, pod: String) {
        let stream = &mut self.streams[number];
        let Some(open) = stream.open.as_mut().filter(|open| open.pod.is_none()) else { return };
        // A name that is another one with each stream is no pod's, as in the tally.
        if self.pods.len() >= MAX_PODS && !self.pods.contains_key(&pod) {
            return;
        }
        let new = || PodStreamStats { first_at: open.at, ..PodStreamStats::default() };
        let counts = self.pods.entry(pod.clone()).or_insert_with(new);
        counts.held += 1;
        counts.opened += 1;
        if let Some(previous) = stream.previous.take() {
            *self.moves.entry((previous, pod.clone())).or_default() += 1;
        }
        open.pod = Some(pod);
    }

    fn end(&mut self, number: usize, at: Duration, End { status, error }: End) {
        let stream = &mut self.streams[number];
        let Some(open) = stream.open.take() else { return };
        stream.ended = true;
        stream.previous.clone_from(&open.pod);
        self.ended += 1;
        if let Some(counts) = open.pod.as_ref().and_then(|pod| self.pods.get_mut(pod)) {
            counts.held -= 1;
            counts.ended += 1;
        }
        let new = || Endings { first_at: at, ..Endings::default() };
        let endings = self.endings.entry((status, open.pod.clone())).or_insert_with(new);
        endings.lifetimes.record(at.saturating_sub(open.at));
        endings.last_at = at;
        let at = if error.is_some() { at } else { open.at };
        self.tally.record(Sample { at, error, ..open.sample() });
    }
}

// === impl Open ===

impl Open {
    fn sample(&self) -> Sample {
        Sample { at: self.at, latency: self.took, pod: self.pod.clone(), ..Sample::default() }
    }
}
