//! The streams that a load held: which pod holds how many, which ended early, and where they were opened again.

use std::{collections::HashSet, net::SocketAddr, time::Duration};

use serde::Serialize;

use crate::{
    balance::Balance,
    conditions::EndpointState,
    render::count,
    streams::{Endings, Held, Hold, Ledger, PodLedger},
};

/// The streams of `--streams`, and where they are at the end.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Streams {
    /// The method, as `pkg.Service/Method`.
    pub method: String,
    /// Streams that were to be held.
    pub wanted: u64,
    /// The time to hold them, in seconds, counted from `settled`.
    pub hold: f64,
    /// The time at which every stream had been opened, or had failed to open, once; null if the load ended before.
    pub settled: Option<f64>,
    /// Streams that were open at the end.
    pub held: u64,
    /// The number of open streams whose pod is not known.
    pub held_unnamed: u64,
    /// Streams that were opened.
    pub opened: u64,
    /// Streams among them that took the place of one that had ended.
    pub reopened: u64,
    /// Attempts to open a stream that failed.
    pub not_opened: u64,
    /// Streams that ended before the load closed them.
    pub ended: u64,
    /// The pods, in the order of their names.
    pub pods: Vec<PodStreams>,
    /// The streams that ended early, by status and pod.
    pub endings: Vec<Ending>,
    /// The pods on which streams were opened again after they had ended.
    pub moves: Vec<Move>,
    /// Endpoints of a balanced target that are connected at the end and hold no stream; null if it is not known to which
    /// endpoint each stream leads.
    pub idle: Option<Vec<IdleEndpoint>>,
}

/// The streams of one pod.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PodStreams {
    /// Its name.
    pub name: String,
    /// Streams that it holds at the end.
    pub held: u64,
    /// Share of the streams that known pods hold at the end, from 0 to 1.
    pub share: f64,
    /// Streams that were opened on it.
    pub opened: u64,
    /// Streams of it that ended early.
    pub ended: u64,
    /// The time at which its first stream was opened, in seconds from the start.
    pub first_at: f64,
    /// True if its first stream was opened after `settled`, so that it only gets streams that are opened again.
    pub came_later: bool,
}

/// Streams of one pod that ended early with one status.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Ending {
    /// The name of the gRPC status.
    pub status: String,
    /// The pod; null if it is not known.
    pub pod: Option<String>,
    /// The number of streams.
    pub count: u64,
    /// The shortest time that one of them was open, in seconds.
    pub shortest: f64,
    /// The longest time.
    pub longest: f64,
    /// The time at which the first of them ended, in seconds from the start.
    pub first_at: f64,
    /// The time at which the last of them ended.
    pub last_at: f64,
}

/// Streams that ended on one pod and were opened again on one.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Move {
    /// The pod of the streams that ended.
    pub from: String,
    /// The pod on which they were opened again; it may be the same.
    pub to: String,
    /// The number of streams.
    pub count: u64,
}

/// A connected endpoint that holds no stream.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct IdleEndpoint {
    /// Its address.
    pub address: String,
    /// True if it was not connected when the streams were opened.
    pub came_later: bool,
}

// === impl Streams ===

impl Streams {
    /// Puts the figures together. `before` are the endpoints when the streams were first open, `after` those at the end.
    pub fn new(
        method: String,
        plan: &Hold,
        held: &Held,
        before: &[EndpointState],
        after: &[EndpointState],
    ) -> Self {
        let Ledger { settled, opened, reopened, not_opened, ended, .. } = held.ledger;
        let ledger = &held.ledger;
        let named: u64 = ledger.pods.values().map(|pod| pod.held).sum();
        let later = |first_at: Duration| settled.is_some_and(|settled| first_at > settled);
        let pod = |(name, pod): (&String, &PodLedger)| PodStreams {
            name: name.clone(),
            held: pod.held,
            share: pod.held as f64 / named.max(1) as f64,
            opened: pod.opened,
            ended: pod.ended,
            first_at: pod.first_at.as_secs_f64(),
            came_later: later(pod.first_at),
        };
        let moved = |((from, to), count): (&(String, String), &u64)| Move {
            from: from.clone(),
            to: to.clone(),
            count: *count,
        };
        Self {
            method,
            wanted: ledger.wanted(),
            hold: plan.time.as_secs_f64(),
            settled: settled.map(|settled| settled.as_secs_f64()),
            held: ledger.held(),
            held_unnamed: ledger.held_unnamed(),
            opened,
            reopened,
            not_opened,
            ended,
            pods: ledger.pods.iter().map(pod).collect(),
            endings: ledger.endings.iter().map(Ending::new).collect(),
            moves: ledger.moves.iter().map(moved).collect(),
            idle: ledger.peers().filter(|peers| !peers.is_empty()).map(|peers| idle(&peers, before, after)),
        }
    }

    /// Returns the balance of the streams that are held at the end.
    pub fn balance(&self) -> Balance {
        let held = self.pods.iter().map(|pod| pod.held).filter(|held| *held > 0);
        let mut balance = Balance::of_counts(held);
        if self.idle_endpoints() > 0 && balance.pods > 0 {
            // An endpoint without a stream is the idlest, and its pod is not known by name.
            balance.skew = f64::INFINITY;
        }
        balance
    }

    /// Returns a sentence if fewer streams are open at the end than were wanted.
    pub(super) fn notes(&self) -> Vec<String> {
        let missing = self.wanted - self.held;
        let sentence = match missing {
            0 => return Vec::new(),
            1 => "1 stream is not open at the end: it had ended or failed, and was being opened again"
                .to_owned(),
            missing => format!(
                "{} streams are not open at the end: they had ended or failed, and were being opened again",
                count(missing)
            ),
        };
        vec![sentence]
    }

    /// Returns the number of connected endpoints that hold no stream.
    pub fn idle_endpoints(&self) -> usize {
        self.idle.as_ref().map_or(0, Vec::len)
    }
}

fn idle(peers: &HashSet<SocketAddr>, before: &[EndpointState], after: &[EndpointState]) -> Vec<IdleEndpoint> {
    let busy: HashSet<_> = peers.iter().map(SocketAddr::to_string).collect();
    let idle = after.iter().filter(|endpoint| endpoint.ready && !busy.contains(&endpoint.address));
    idle.map(|endpoint| IdleEndpoint {
        address: endpoint.address.clone(),
        came_later: !before.iter().any(|one| one.ready && one.address == endpoint.address),
    })
    .collect()
}

// === impl Ending ===

impl Ending {
    fn new(((status, pod), endings): (&(String, Option<String>), &Endings)) -> Self {
        let Endings { lifetimes, first_at, last_at } = endings;
        Self {
            status: status.clone(),
            pod: pod.clone(),
            count: lifetimes.count(),
            shortest: lifetimes.min().as_secs_f64(),
            longest: lifetimes.max().as_secs_f64(),
            first_at: first_at.as_secs_f64(),
            last_at: last_at.as_secs_f64(),
        }
    }
}
