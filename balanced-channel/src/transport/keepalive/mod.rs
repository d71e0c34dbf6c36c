//! When to ping a silent peer (gRFC A8), and when to believe that it is gone.

pub(super) mod pinger;

use std::time::Duration;

use tokio::time::Instant;

/// How long calls in flight on a silent connection are given, at least: A8's default timeout.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many probes may follow one answer. A server forgives two pings that come too early.
const PROBES: u32 = 2;

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
    /// How long the answer to a ping may take before calls go elsewhere. Default: 2 s.
    pub timeout: Duration,
    /// Whether to ping while no call is in flight. Default: no; few servers permit it.
    pub without_calls: bool,
}

/// Keeps the time of one connection.
#[derive(Debug)]
pub(super) struct Watchdog {
    config: Keepalive,
    last_read: Instant,
    /// When the ping went out that is not answered yet.
    pinged: Option<Instant>,
    /// The probes since the peer last sent headers or data: what a server counts.
    probes: u32,
    /// When the first call began since anything was read.
    asked: Option<Instant>,
    /// Whether the peer is taken for dead.
    silent: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Ping,
    /// To send calls elsewhere.
    Avoid,
    /// To give the connection up.
    GiveUp,
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
    pub(super) fn calmed(self, complaints: u32) -> Self {
        match complaints {
            0 => self,
            _ => Self { time: self.time.saturating_mul(1 << complaints.min(20)), probe_time: None, ..self },
        }
    }

    /// How long after a ping a connection is given up.
    pub(super) fn patience(&self) -> Duration {
        self.timeout.max(PATIENCE)
    }
}

// === impl Watchdog ===

impl Watchdog {
    pub(super) fn new(config: Keepalive) -> Self {
        Self { config, last_read: Instant::now(), pinged: None, probes: 0, asked: None, silent: false }
    }

    /// The next thing to do, and when, if nothing happens before; `in_use` by calls in flight.
    pub(super) fn due(&self, in_use: bool) -> Option<(Instant, Due)> {
        if let Some(pinged) = self.pinged {
            let quiet = pinged.max(self.last_read);
            return match self.silent {
                false => Some((later(quiet, self.config.timeout), Due::Avoid)),
                true => Some((later(quiet, self.config.patience()), Due::GiveUp)),
            };
        }
        let in_use = in_use || self.config.without_calls;
        let regular = in_use.then(|| later(self.last_read, self.config.time));
        // A call that was given up unanswered is as good a reason as one that waits.
        let may_probe = in_use && self.probes == 0 || self.probes < PROBES && self.asked.is_some();
        let probe = self.config.probe_time.filter(|_| may_probe);
        let probe = probe.map(|time| later(self.asked.unwrap_or(self.last_read), time));
        regular.into_iter().chain(probe).min().map(|at| (at, Due::Ping))
    }

    pub(super) fn pinged(&mut self) {
        let now = Instant::now();
        self.probes += u32::from(now < later(self.last_read, self.config.time));
        self.pinged = Some(now);
        self.asked = None;
    }

    pub(super) fn avoided(&mut self) {
        self.silent = true;
    }

    /// Something was read; says whether the peer was taken for dead.
    pub(super) fn read(&mut self) -> bool {
        self.last_read = Instant::now();
        self.asked = None;
        std::mem::replace(&mut self.silent, false)
    }

    /// Headers or data came.
    pub(super) fn spoken(&mut self) {
        self.probes = 0;
    }

    /// The ping was answered.
    pub(super) fn answered(&mut self) {
        self.pinged = None;
    }

    /// A call was sent.
    pub(super) fn asked(&mut self) {
        self.asked.get_or_insert_with(Instant::now);
    }

    /// Whether the answer to a ping is still to come.
    pub(super) fn expects_pong(&self) -> bool {
        self.pinged.is_some()
    }
}

fn later(from: Instant, time: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    from + time.min(FAR)
}

#[cfg(test)]
mod tests;
