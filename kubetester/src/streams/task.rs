//! The task of one stream: opens it, reads it, and opens it again when it has ended.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc::UnboundedSender,
    time::{Instant, sleep, timeout},
};

use super::{Change, End, Event, StreamSource};

/// The duration below which a stream counts as short. After two short streams, the next is opened after a pause.
const SHORT_STREAM: Duration = Duration::from_secs(1);

/// The first pause. It doubles with each further stream that was short.
const INITIAL_BACKOFF: Duration = Duration::from_millis(100);

/// The longest pause.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// Keeps one stream open.
pub(super) struct StreamTask<S> {
    pub(super) source: S,
    pub(super) number: usize,
    /// The time at which the first stream was opened.
    pub(super) start: Instant,
    pub(super) timeout: Duration,
    pub(super) events: UnboundedSender<Event>,
    /// The messages of all streams.
    pub(super) messages: Arc<AtomicU64>,
}

// === impl StreamTask ===

impl<S: StreamSource> StreamTask<S> {
    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        let mut short = 0;
        loop {
            let begin = Instant::now();
            self.run_once(begin).await;
            short = if begin.elapsed() < SHORT_STREAM { short + 1 } else { 0 };
            sleep(backoff(short)).await;
        }
    }

    /// Opens a stream and reads it to its end.
    async fn run_once(&mut self, begin: Instant) {
        let late = |_| {
            let timeout = humantime::format_duration(self.timeout);
            let error = format!(
                "no response headers within {timeout}; the server may limit the streams of a connection"
            );
            Err(End { status: "DEADLINE_EXCEEDED".to_owned(), error: Some(error) })
        };
        match timeout(self.timeout, self.source.open()).await.unwrap_or_else(late) {
            Ok(opened) => self.report(Change::Opened { opened, took: begin.elapsed() }),
            Err(end) => return self.report(Change::NotOpened { end, took: begin.elapsed() }),
        }
        let mut first = true;
        let end = loop {
            match self.source.message().await {
                Ok(pod) => {
                    self.messages.fetch_add(1, Ordering::Relaxed);
                    if first || pod.is_some() {
                        let after = first.then(|| begin.elapsed());
                        self.report(Change::Message { pod, after });
                    }
                    first = false;
                }
                Err(end) => break end,
            }
        };
        self.report(Change::Ended(end));
    }

    fn report(&self, change: Change) {
        // The receiver is dropped when the streams are closed.
        drop(self.events.send(Event { number: self.number, at: self.start.elapsed(), change }));
    }
}

/// Returns the pause before the next stream, after `short` short ones in succession.
fn backoff(short: u32) -> Duration {
    match short {
        0 | 1 => Duration::ZERO,
        short => INITIAL_BACKOFF.saturating_mul(1 << (short - 2).min(8)).min(MAX_BACKOFF),
    }
}
