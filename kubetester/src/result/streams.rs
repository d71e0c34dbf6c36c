//! The streams of a load: the number on each pod, those that ended early, and the pods on which they were opened again.

use std::{collections::HashSet, net::SocketAddr, time::Duration};

use serde::Serialize;

use crate::{
    balance::Balance,
    conditions::EndpointState,
    render::count,
    streams::{Endings, HoldOutcome, HoldPlan, PodStreamStats, StreamStats},
};

/// The streams of `--streams`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Streams {
    /// The method, as `pkg.Service/Method`.
    pub method: String,
    /// Number of streams to hold open, from the command line.
    pub wanted: u64,
    /// Time for which to hold them open, in seconds from `settled`.
    pub hold: f64,
    /// Time when the first attempt to open each stream had succeeded or failed; null if the load ended earlier.
    pub settled: Option<f64>,
    /// Streams that were open at the end.
    pub held: u64,
    /// Streams among them whose pod is not known.
    pub held_unnamed: u64,
    /// Streams that were opened, reopened ones included.
    pub opened: u64,
    /// Streams among them that replaced one that had ended.
    pub reopened: u64,
    /// Failed attempts to open a stream.
    pub not_opened: u64,
    /// Streams that ended before the load closed them.
    pub ended: u64,
    /// Pods with streams, sorted by name.
    pub pods: Vec<PodStreams>,
    /// Streams that ended early, by status and pod.
    pub endings: Vec<Ending>,
    /// Streams that ended and were opened again, by the pods before and after.
    pub moves: Vec<Move>,
    /// Endpoints of a balanced target that are connected at the end and have no stream; null if the endpoints of the streams
    /// are not known.
    pub idle: Option<Vec<IdleEndpoint>>,
}

/// The streams of one pod.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PodStreams {
    /// Name of the pod.
    pub name: String,
    /// Streams on the pod that are open at the end.
    pub held: u64,
    /// Share of the pod in the streams that are open at the end and whose pod is known, from 0 to 1.
    pub share: f64,
    /// Streams that were opened on the pod.
    pub opened: u64,
    /// Streams on the pod that ended early.
    pub ended: u64,
    /// Time when the first stream on the pod was opened, in seconds from the start.
    pub first_at: f64,
    /// True if that time is after `settled`: a new pod gets only streams that are opened again.
    pub came_later: bool,
}

/// Streams that ended early on the same pod with the same status.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Ending {
    /// Name of the gRPC status.
    pub status: String,
    /// Name of the pod; null if it is not known.
    pub pod: Option<String>,
    /// Number of streams.
    pub count: u64,
    /// Shortest time that one of them was open, in seconds.
    pub shortest: f64,
    /// Longest time that one of them was open, in seconds.
    pub longest: f64,
    /// Time when the first of them ended, in seconds from the start.
    pub first_at: f64,
    /// Time when the last of them ended, in seconds from the start.
    pub last_at: f64,
}

/// Streams that ended on one pod and were opened again on the same or another pod.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Move {
    /// Pod on which the streams ended.
    pub from: String,
    /// Pod on which they were opened again.
    pub to: String,
    /// Number of streams.
    pub count: u64,
}

/// A connected endpoint without a stream.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct IdleEndpoint {
    /// Address of the endpoint.
    pub address: String,
    /// True if it was not connected yet when the streams were opened.
    pub came_later: bool,
}

// === impl Streams ===

impl Streams {
    /// Computes the figures. `before` are the endpoints when the streams had been opened, `after` those at the end.
    pub fn new(
        method: String,
        plan: &HoldPlan,
        held: &HoldOutcome,
        before: &[EndpointState],
        after: &[EndpointState],
    ) -> Self {
        let StreamStats { settled, opened, reopened, not_opened, ended, .. } = held.stats;
        let stats = &held.stats;
        let named: u64 = stats.pods.values().map(|pod| pod.held).sum();
        let later = |first_at: Duration| settled.is_some_and(|settled| first_at > settled);
        let pod = |(name, pod): (&String, &PodStreamStats)| PodStreams {
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
            wanted: stats.wanted(),
            hold: plan.time.as_secs_f64(),
            settled: settled.map(|settled| settled.as_secs_f64()),
            held: stats.held(),
            held_unnamed: stats.held_unnamed(),
            opened,
            reopened,
            not_opened,
            ended,
            pods: stats.pods.iter().map(pod).collect(),
            endings: stats.endings.iter().map(Ending::new).collect(),
            moves: stats.moves.iter().map(moved).collect(),
            idle: stats.peers().filter(|peers| !peers.is_empty()).map(|peers| idle(&peers, before, after)),
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
