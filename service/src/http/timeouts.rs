//! The fixed timeouts of connections. [`ConnectionConfig`](super::ConnectionConfig) has those that a user may change: age,
//! grace, idle time and keepalive.

use std::time::Duration;

/// The time from accepting a connection to its first request, or over HTTP/2 to the end of the preface and the head of the
/// first SETTINGS frame.
pub(super) const OPENING: Duration = Duration::from_secs(10);

/// The number of bytes that a client must send within [`OPENING`] over HTTP/2: the preface (24) and the head of a frame
/// (9).
pub(super) const OPENING_BYTES: usize = 24 + 9;

/// The time for the head of an HTTP/1 request, from the end of the previous request: also the idle timeout over HTTP/1.
pub(super) const HEAD: Duration = Duration::from_secs(30);

/// The time after which a client that accepts no bytes is disconnected.
pub(super) const STALLED: Duration = Duration::from_secs(30);

/// [`STALLED`] while the program drains.
pub(super) const STALLED_WHILE_DRAINING: Duration = Duration::from_secs(5);

/// The time that an HTTP/1 connection stays open at its end for one more request, which is answered with
/// `connection: close`. Closing an idle connection at once would fail a request that its client is sending at that moment;
/// most clients that pool connections either use or close an idle one within this time.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// The time that a client above the limit on connections has to send a request and read the rejection.
pub(super) const REJECTION: Duration = Duration::from_secs(1);

/// The pause after a failed accept, such as one without a free file descriptor.
pub(super) const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// The time between two checks of a connection against [`OPENING`] and [`STALLED`].
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// [`CHECK_INTERVAL`] while the program drains.
pub(super) const CHECK_INTERVAL_WHILE_DRAINING: Duration = Duration::from_secs(1);
