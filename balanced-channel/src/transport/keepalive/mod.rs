//! Keepalive (gRFC A8): when to send PINGs, and when a peer counts as unresponsive or dead.

pub(super) mod pinger;

use std::time::Duration;

use tokio::time::Instant;

/// The minimum time before a silent connection is closed: the default timeout of A8.
const MIN_CLOSE_TIMEOUT: Duration = Duration::from_secs(20);
/// The maximum number of probes between two messages of the peer. A server tolerates two PINGs that come too early.
const MAX_PROBES: u32 = 2;
/// The maximum number of times that the wait for the answer to a PING is repeated because this process was stalled.
const MAX_EXTENSIONS: u32 = 3;
/// A wait that ends late by one part in this many of its duration shows that this process was stalled.
const STALL_FRACTION: u32 = 4;

/// Detects unresponsive peers by HTTP/2 PINGs ([gRFC A8]).
///
/// A peer whose process is stopped, or whose packets a firewall drops, does not close its connection: calls on it would
/// wait for ever. PINGs detect this, but gRPC servers limit them: by default they permit one every five minutes while
/// they send nothing, and respond to the third that comes too early with GOAWAY `too_many_pings`. For that reason gRPC
/// clients send no PINGs by default, and a client that sends one every few seconds would break every long, quiet
/// stream.
///
/// This channel sends PINGs by default, within the limits of every server. A server resets its count whenever it sends
/// headers or a message. Therefore:
///
/// - While calls are in flight, or after calls were cancelled without a response, a *probe* is sent when nothing has
///   been read for `probe_time`, counted from the last read or the first call after it. If the peer answers the probe
///   and then leaves another call without a response, a second probe is sent, and no further one until headers or a
///   message arrive. Even if a probe crosses a response, a server counts at most three PINGs and tolerates two as too
///   early.
/// - Otherwise, while calls are in flight, a PING is sent after `time` of silence: by default, slightly more than five
///   minutes.
/// - When nothing has been read for `timeout` after a PING, the peer is unresponsive: calls go to other endpoints, if
///   any is READY. The timeout can be short, because the connection stays open, and any byte from the peer ends that
///   state.
/// - 20 s after the PING, or after `timeout` if that is longer, the connection is closed: calls in flight fail with
///   UNAVAILABLE, and the channel reconnects.
/// - A wait that ends late by a quarter of its duration shows that this process was stalled, for example by a lack of
///   CPU time, and is no evidence against the peer. It is repeated, up to three times.
///
/// With the defaults, calls avoid a dead peer 4 s after the first call that it does not answer, and a peer that
/// responds within 2 s is never sent a PING. A peer that dies after both probes were used, and before it sends a
/// response, is detected by the deadlines of calls ([`OutlierDetection`](crate::OutlierDetection)), or by the kernel
/// when packets are lost ([`TcpConnector`](crate::TcpConnector)).
///
/// After each `too_many_pings`, later connections of the channel send no probes and double `time` (A8).
///
/// [gRFC A8]: https://github.com/grpc/proposal/blob/master/A8-client-side-keepalive.md
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// The silence after which a PING is sent. Set less than 5 minutes only for servers that permit it (in grpc-go,
    /// `EnforcementPolicy.MinTime`). Default: 310 s.
    pub time: Duration,
    /// The silence after which a probe is sent; `None` turns probes off. Default: 2 s.
    pub probe_time: Option<Duration>,
    /// The time for the answer to a PING before calls go elsewhere. Default: 2 s.
    pub timeout: Duration,
    /// True to send PINGs while no call is in flight, which few servers permit. Default: false.
    pub without_calls: bool,
}

/// Computes the next keepalive action for a connection.
#[derive(Debug)]
pub(super) struct KeepaliveTimer {
    config: Keepalive,
    last_read: Instant,
    /// The start of the wait for the answer to the PING in flight: the time when it was sent, or the end of a stall of
    /// this process.
    ping_sent_at: Option<Instant>,
    /// The number of times that this wait was restarted.
    extensions: u32,
    /// The number of probes since the peer last sent headers or data, as servers count them.
    probes: u32,
    /// The start of the first call since the last read.
    unanswered_since: Option<Instant>,
    /// True if the peer is unresponsive.
    silent: bool,
}

/// The next action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeepaliveAction {
    Ping,
    /// Send calls elsewhere.
    MarkSilent,
    /// Close the connection.
    Close,
}

// === impl Keepalive ===

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(310),
            probe_time: Some(Duration::from_secs(2)),
            timeout: Duration::from_secs(2),
            without_calls: false,
        }
    }
}

impl Keepalive {
    /// Sends PINGs after `time` of silence, with defaults for the other values.
    pub fn new(time: Duration) -> Self {
        Self { time, ..Self::default() }
    }

    /// Returns the settings to use after `too_many_pings` GOAWAY frames of that kind.
    pub(super) fn after_too_many_pings(self, too_many_pings: u32) -> Self {
        match too_many_pings {
            0 => self,
            _ => {
                Self { time: self.time.saturating_mul(1 << too_many_pings.min(20)), probe_time: None, ..self }
            }
        }
    }

    /// Returns the silence after a PING that closes the connection.
    pub(super) fn close_timeout(&self) -> Duration {
        self.timeout.max(MIN_CLOSE_TIMEOUT)
    }
}

// === impl KeepaliveTimer ===

impl KeepaliveTimer {
    pub(super) fn new(config: Keepalive) -> Self {
        Self {
            config,
            last_read: Instant::now(),
            ping_sent_at: None,
            extensions: 0,
            probes: 0,
            unanswered_since: None,
            silent: false,
        }
    }

    /// Returns the next action and its time. `in_use` is true while calls are in flight.
    pub(super) fn next_action(&self, in_use: bool) -> Option<(Instant, KeepaliveAction)> {
        if let Some(ping_sent_at) = self.ping_sent_at {
            let quiet = ping_sent_at.max(self.last_read);
            return match self.silent {
                false => Some((later(quiet, self.config.timeout), KeepaliveAction::MarkSilent)),
                true => Some((later(quiet, self.config.close_timeout()), KeepaliveAction::Close)),
            };
        }
        let in_use = in_use || self.config.without_calls;
        let regular = in_use.then(|| later(self.last_read, self.config.time));
        // A call that was cancelled without a response is a reason to probe too.
        let may_probe =
            in_use && self.probes == 0 || self.probes < MAX_PROBES && self.unanswered_since.is_some();
        let probe = self.config.probe_time.filter(|_| may_probe);
        let probe = probe.map(|time| later(self.unanswered_since.unwrap_or(self.last_read), time));
        regular.into_iter().chain(probe).min().map(|at| (at, KeepaliveAction::Ping))
    }

    pub(super) fn ping_sent(&mut self) {
        let now = Instant::now();
        self.probes += u32::from(now < later(self.last_read, self.config.time));
        self.ping_sent_at = Some(now);
        self.unanswered_since = None;
    }

    /// Restarts the wait for the answer to a PING if this process was stalled, that is, if now is much later than
    /// `due`. A process that got no CPU time has no evidence against the peer, which may share its CPUs.
    pub(super) fn extend_after_stall(&mut self, due: Instant) -> bool {
        let wait = if self.silent { self.config.close_timeout() } else { self.config.timeout };
        let stalled = due.elapsed() >= wait / STALL_FRACTION;
        if self.ping_sent_at.is_none() || !stalled || self.extensions == MAX_EXTENSIONS {
            return false;
        }
        self.extensions += 1;
        self.ping_sent_at = Some(Instant::now());
        true
    }

    pub(super) fn marked_silent(&mut self) {
        self.silent = true;
    }

    /// Records a read. Returns whether the peer was unresponsive before.
    pub(super) fn bytes_read(&mut self) -> bool {
        self.last_read = Instant::now();
        self.unanswered_since = None;
        self.extensions = 0;
        std::mem::replace(&mut self.silent, false)
    }

    /// Records headers or data of the peer.
    pub(super) fn message_read(&mut self) {
        self.probes = 0;
    }

    /// Records the answer to the PING.
    pub(super) fn pong_received(&mut self) {
        self.ping_sent_at = None;
    }

    /// Records a call.
    pub(super) fn call_started(&mut self) {
        self.unanswered_since.get_or_insert_with(Instant::now);
    }

    /// Returns whether the answer to a ping is still to come.
    pub(super) fn awaits_pong(&self) -> bool {
        self.ping_sent_at.is_some()
    }
}

fn later(from: Instant, time: Duration) -> Instant {
    const MAX: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    from + time.min(MAX)
}

#[cfg(test)]
mod tests;
