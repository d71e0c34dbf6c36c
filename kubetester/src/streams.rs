//! Holds streams: opens a number of calls of a server-streaming method, keeps each open, and opens those that end again.
//!
//! A [`task`] holds one stream. [`StreamStats`] counts the streams of all tasks.

mod stats;
mod task;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

pub use self::stats::{Endings, PodStreamStats, StreamStats};
use self::{
    stats::{Change, Event},
    task::StreamTask,
};

/// Opens one stream at a time and reads it. Dropping the source cancels its stream.
pub trait StreamSource: Send + 'static {
    /// Opens a stream: waits for the response headers.
    fn open(&mut self) -> impl Future<Output = Result<Opened, End>> + Send;

    /// Waits for the next message of the stream that is open, and returns the pod if this message is the first to name
    /// it.
    fn message(&mut self) -> impl Future<Output = Result<Option<String>, End>> + Send;
}

/// A stream whose response headers have arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// The pod, if the headers or the connection name it.
    pub pod: Option<String>,
    /// The endpoint of a balanced channel that the stream leads to.
    pub peer: Option<SocketAddr>,
}

/// The end of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The name of the gRPC status.
    pub status: String,
    /// The status in words; none if it is OK.
    pub error: Option<String>,
}

/// The time that streams are held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldPlan {
    /// The time to hold the streams, counted from when each was opened or failed to open for the first time.
    pub time: Duration,
    /// A stream without response headers after this time has failed to open.
    pub timeout: Duration,
}

/// The outcome of a [`HoldPlan`].
#[derive(Debug)]
pub struct HoldOutcome {
    /// The streams.
    pub stats: StreamStats,
    /// The time from the first open to the end.
    pub elapsed: Duration,
    /// True if the streams were closed before their time was over.
    pub stopped: bool,
}

/// Opens a stream with each source and holds it until the time is over or `stop` is cancelled. `observe` is called after
/// every change.
pub async fn hold<S: StreamSource>(
    plan: &HoldPlan,
    sources: Vec<S>,
    stop: &CancellationToken,
    mut observe: impl FnMut(&StreamStats),
) -> HoldOutcome {
    let start = Instant::now();
    let mut stats = StreamStats::new(sources.len());
    let messages = Arc::new(AtomicU64::new(0));
    let (events, mut changes) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    for (number, source) in sources.into_iter().enumerate() {
        let (events, messages) = (events.clone(), messages.clone());
        let task = StreamTask { source, number, start, timeout: plan.timeout, events, messages };
        tasks.spawn(task.run());
    }

    let mut end = None;
    let stopped = loop {
        tokio::select! {
            Some(event) = changes.recv() => {
                stats.record(event);
                if end.is_none() && stats.settled.is_some() {
                    end = Some(Instant::now() + plan.time);
                }
                observe(&stats);
            }
            () = wait_until(end) => break false,
            () = stop.cancelled() => break true,
        }
    };
    let elapsed = start.elapsed();
    // Changes up to now are part of the run, and what the end itself causes is not.
    while let Ok(event) = changes.try_recv() {
        stats.record(event);
    }
    drop(tasks);
    stats.close(messages.load(Ordering::Relaxed));
    HoldOutcome { stats, elapsed, stopped }
}

async fn wait_until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
