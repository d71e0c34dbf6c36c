//! When to ping a silent peer (gRFC A8), and when to believe that it is gone.

pub(super) mod pinger;

use std::time::Duration;

use tokio::time::Instant;

/// The time that calls in flight on a silent connection are given, at least: A8's default timeout.
const MIN_CLOSE_TIMEOUT: Duration = Duration::from_secs(20);
/// The number of probes that may follow one answer. A server forgives two pings that come too early.
const MAX_PROBES: u32 = 2;
/// The number of times in a row that the wait for the answer to a ping starts again because this process was stalled.
const MAX_EXTENSIONS: u32 = 3;
/// The part of a wait by which it ends late in a process that is stalled.
const STALL_FRACTION: u32 = 4;

/// Finds peers that are gone without a word, by HTTP/2 pings ([gRFC A8]).
///
/// A peer that a packet filter hides, or whose process is stopped, closes nothing: its connection
/// stays, and calls on it wait for ever. A ping is how a client finds out. But gRPC servers count
/// pings: unless told otherwise, they allow one every five minutes while nothing is sent, and answer
/// the third that comes too early with GOAWAY, `too_many_pings`. So gRPC's clients do not ping at
/// all by default, and one that simply pinged every few seconds would break every long, quiet
/// stream.
///
/// This channel pings by default, within what every server allows. A server starts to count anew
/// whenever it sends headers or a message, and to an answer that does not come belongs a call. So:
///
/// - When calls are in flight, or were given up, and nothing at all has been read for `probe_time`, from
///   the last word or the first call after it, one *probe* goes out. When that is answered, and yet another call
///   begins that is not, a second one does. No further probe until headers or a message have come.
///   With one probe that crosses an answer on its way, a server counts three pings at most, of which
///   it forgives two.
/// - Otherwise, while calls are in flight, pings go out after `time` of silence, which by default is
///   a little more than the five minutes that servers allow.
/// - When nothing has been read for `timeout` after a ping, calls go to other endpoints, if any is
///   READY. This can be short, because nothing is broken yet: whatever is read ends it.
/// - A wait that ends late by a quarter of its time shows that this process was stalled, by a lack of CPU time for
///   instance, and says nothing about the peer: it starts again, up to three times.
/// - 20 s after the ping, or at `timeout` if that is longer, the connection is given up: calls in
///   flight fail with UNAVAILABLE, and the endpoint is connected anew.
///
/// So with the defaults, calls stop going to a dead peer 4 s after the first that it does not answer,
/// and a peer that answers within 2 s is never pinged at all. A peer that dies when it has answered no
/// call for long, and both its probes were used up before, is found by what else there is: the
/// deadlines of calls ([`OutlierDetection`](crate::OutlierDetection)), and the kernel, when packets
/// are lost ([`TcpConnector`](crate::TcpConnector)).
///
/// A server that still says `too_many_pings` gets no more probes from this channel, and has `time`
/// doubled, on all later connections, each time (A8).
///
/// [gRFC A8]: https://github.com/grpc/proposal/blob/master/A8-client-side-keepalive.md
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// The silence after which a ping goes out. Less than 5 minutes only for servers that are
    /// known to permit it (in grpc-go, `EnforcementPolicy.MinTime`). Default: 310 s.
    pub time: Duration,
    /// The silence after which the peer is probed, or `None` not to. Default: 2 s.
    pub probe_time: Option<Duration>,
    /// The time that the answer to a ping may take before calls go elsewhere. Default: 2 s.
    pub timeout: Duration,
    /// True if to ping while no call is in flight. Default: no; few servers permit it.
    pub without_calls: bool,
}

/// Keeps the time of one connection.
#[derive(Debug)]
pub(super) struct KeepaliveTimer {
    config: Keepalive,
    last_read: Instant,
    /// The start of the wait for the answer to the ping in flight: its sending, or the end of a stall of this process.
    ping_sent_at: Option<Instant>,
    /// The number of times that this wait was started again.
    extensions: u32,
    /// The probes since the peer last sent headers or data: what a server counts.
    probes: u32,
    /// When the first call began since anything was read.
    unanswered_since: Option<Instant>,
    /// True if the peer is taken for dead.
    silent: bool,
}

/// The next action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeepaliveAction {
    Ping,
    /// To send calls elsewhere.
    MarkSilent,
    /// To give the connection up.
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
    /// Pings after `time` of silence, with the other values at their defaults.
    pub fn new(time: Duration) -> Self {
        Self { time, ..Self::default() }
    }

    /// After so many complaints of servers.
    pub(super) fn after_too_many_pings(self, too_many_pings: u32) -> Self {
        match too_many_pings {
            0 => self,
            _ => {
                Self { time: self.time.saturating_mul(1 << too_many_pings.min(20)), probe_time: None, ..self }
            }
        }
    }

    /// Returns the time that after a ping a connection is given up.
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

    /// The next thing to do, and when, if nothing happens before; `in_use` by calls in flight.
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
        // A call that was given up unanswered is as good a reason as one that waits.
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

    /// Starts the wait for the answer to a ping again if this process was stalled: what was due at `due` is much later
    /// than that. A process that got no CPU time cannot tell whether the peer, which may share its CPUs, is gone.
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

    /// Something was read; says whether the peer was taken for dead.
    pub(super) fn bytes_read(&mut self) -> bool {
        self.last_read = Instant::now();
        self.unanswered_since = None;
        self.extensions = 0;
        std::mem::replace(&mut self.silent, false)
    }

    /// Headers or data came.
    pub(super) fn message_read(&mut self) {
        self.probes = 0;
    }

    /// The ping was answered.
    pub(super) fn pong_received(&mut self) {
        self.ping_sent_at = None;
    }

    /// A call was sent.
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
