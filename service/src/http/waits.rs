//! The time that a connection may wait for each thing. The flags of [`ConnectionConfig`](super::ConnectionConfig) have
//! the waits that a user may change: age, grace, idle time and the answer to a PING.

use std::time::Duration;

/// From accepting a connection to its first request, or to the end of HTTP/2's preface and the first SETTINGS frame.
pub(super) const OPENING: Duration = Duration::from_secs(10);

/// The bytes that end [`OPENING`] for HTTP/2: the preface (24) and the head of a frame (9).
pub(super) const OPENING_BYTES: usize = 24 + 9;

/// The time for the head of an HTTP/1 request, counted from the end of the request before: also the longest idle time.
pub(super) const HEAD: Duration = Duration::from_secs(30);

/// The time for which a client may accept no bytes.
pub(super) const STALLED: Duration = Duration::from_secs(30);

/// The same while the program drains.
pub(super) const STALLED_WHILE_DRAINING: Duration = Duration::from_secs(5);

/// The time for one more request on an HTTP/1 connection that should end, to answer it with `connection: close`.
/// Closing an idle connection races with the request that its client is sending, which then fails; clients that pool
/// connections close idle ones themselves, or use them within this time.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// The time for a client above the limit on connections to send a request and read the refusal.
pub(super) const REFUSAL: Duration = Duration::from_secs(1);

/// Before accepting again after the system had no file descriptor left.
pub(super) const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Between two checks of a connection against [`OPENING`] and [`STALLED`].
pub(super) const CHECK: Duration = Duration::from_secs(5);

/// The same while the program drains.
pub(super) const CHECK_WHILE_DRAINING: Duration = Duration::from_secs(1);
