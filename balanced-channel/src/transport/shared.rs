//! The state that the IO, the task and the calls of one connection share.

use std::{
    fmt,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use tokio::{runtime::Handle, sync::watch};

use super::{
    header_list::{HeaderListLimit, HeaderListTooLarge},
    http2_error::{describe_http2_error, error_code},
    sniffer::frame_reader::GoAway,
    stream_quota::StreamQuota,
};
use crate::metrics::Disconnect;

/// The maximum number of long header blocks that are remembered.
const MAX_LONG_BLOCKS: usize = 128;

/// The shared state of one connection.
#[derive(Debug)]
pub(super) struct Shared {
    /// The streams that calls may open.
    pub(super) quota: StreamQuota,
    pub(super) header_list_limit: HeaderListLimit,
    pub(super) observed: Observed,
    /// The published state of the peer.
    pub(super) peer: watch::Sender<PeerState>,
    /// Continues an upload whose response has begun.
    pub(super) runtime: Handle,
}

/// Facts that the IO observes in the bytes of a connection. No task waits for them.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// The number of reads that returned bytes.
    pub(super) reads: Counter,
    /// The number of HEADERS and DATA frames that were read.
    pub(super) responses: Counter,
    /// The last stream whose headers were written.
    pub(super) last_opened_stream: AtomicU32,
    /// True once the peer has sent its SETTINGS.
    pub(super) settings: AtomicBool,
    pub(super) goaway: OnceLock<GoAway>,
    /// Set by the task when the peer has been silent for too long; the IO then fails.
    pub(super) keepalive_timed_out: AtomicBool,
    /// The latest streams with a long header block, and its length.
    long_blocks: Mutex<Vec<(u32, usize)>>,
}

/// A counter with a single writer.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

/// The state of the connection as reported by the peer, or by its silence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PeerState {
    /// True if the peer has sent its SETTINGS, which shows that it speaks HTTP/2.
    pub(super) open: bool,
    /// True if the peer has left a PING unanswered.
    pub(super) silent: bool,
    /// The reason why the connection takes no new calls, while those in flight go on.
    pub(super) draining: Option<DrainReason>,
    /// True if the peer had begun to answer a call when the connection began to drain.
    pub(super) answered: bool,
    pub(super) lost: Option<ConnectionLost>,
}

/// The end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionLost {
    pub(crate) why: String,
    pub(crate) disconnect: Disconnect,
}

/// The reason why a connection takes no more calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DrainReason {
    /// The peer sent GOAWAY.
    GoAway(GoAway),
    /// The connection has used its 2^30 stream IDs.
    StreamIdsExhausted,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(header_list_limit: HeaderListLimit) -> Self {
        Self {
            quota: StreamQuota::default(),
            header_list_limit,
            observed: Observed::default(),
            peer: watch::Sender::default(),
            runtime: Handle::current(),
        }
    }

    /// Returns the error for a stream that h2 reset, or whose connection h2 closed, because of a header list.
    pub(super) fn header_list_error(&self, stream: u32, error: &h2::Error) -> Option<HeaderListTooLarge> {
        let by_size = error.is_library() && self.observed.long_block(stream).is_some();
        by_size.then(|| self.header_list_limit.exceeded_by("response headers or trailers"))
    }

    /// Stops new calls on the connection.
    pub(super) fn drain(&self, why: DrainReason) {
        self.quota.close();
        self.peer.send_if_modified(|peer| {
            let first = peer.draining.is_none();
            if first {
                peer.answered = self.observed.responses.get() > 0;
            }
            peer.draining.get_or_insert(why);
            first
        });
    }
}

// === impl Observed ===

impl Observed {
    /// Records the length of a header block that has not ended.
    pub(super) fn record_long_block(&self, stream: u32, length: usize) {
        let mut blocks = self.long_blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.retain(|(other, _)| *other != stream);
        if blocks.len() == MAX_LONG_BLOCKS {
            blocks.remove(0);
        }
        blocks.push((stream, length));
    }

    /// Returns the length of the last header block of a stream, if it was long.
    pub(super) fn long_block(&self, stream: u32) -> Option<usize> {
        let blocks = self.long_blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.iter().find(|(other, _)| *other == stream).map(|(_, length)| *length)
    }
}

// === impl Counter ===

impl Counter {
    pub(super) fn add(&self) {
        self.0.store(self.get().wrapping_add(1), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl PeerState ===

impl PeerState {
    /// Returns the reason why a connection ended before it took a call. For an open connection that received a GOAWAY,
    /// the GOAWAY is the reason.
    pub(super) fn failure(&self) -> Option<&ConnectionLost> {
        self.lost.as_ref().filter(|_| !self.open || self.draining.is_none())
    }
}

// === impl ConnectionLost ===

impl ConnectionLost {
    pub(super) fn new(ended: Result<(), h2::Error>) -> Self {
        let disconnect = ended.as_ref().err().map_or(Disconnect::Unknown, |error| Disconnect::by(error));
        let why =
            ended.map_or_else(|error| describe_http2_error(&error), |()| "closed by the peer".to_owned());
        Self { why, disconnect }
    }
}

// === impl DrainReason ===

impl DrainReason {
    /// Returns true if the connection drains without an error.
    pub(crate) fn is_graceful(self) -> bool {
        match self {
            Self::GoAway(goaway) => goaway.error == 0,
            Self::StreamIdsExhausted => true,
        }
    }

    /// Returns the reason in the form of the metrics.
    pub(crate) fn disconnect(self) -> Disconnect {
        match self {
            Self::GoAway(goaway) => Disconnect::GoAway(goaway.error),
            Self::StreamIdsExhausted => Disconnect::Unknown,
        }
    }

    /// Returns whether the peer rejected keepalive PINGs as too many.
    pub(crate) fn too_many_pings(self) -> bool {
        matches!(self, Self::GoAway(goaway) if goaway.too_many_pings)
    }
}

impl fmt::Display for DrainReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GoAway(goaway) => {
                write!(f, "the server sent GOAWAY {}", error_code(goaway.error))
            }
            Self::StreamIdsExhausted => f.write_str("HTTP/2 stream IDs are exhausted"),
        }
    }
}
