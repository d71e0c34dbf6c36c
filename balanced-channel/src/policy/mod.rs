//! Policies: which endpoints are connected, and which READY subchannel takes a call. One file each.
//!
//! The balancer holds the pool. It asks its policy which of the listed endpoints to connect, and
//! hands it the READY subchannels at each change as a whole list; the policy answers with a picker,
//! an immutable snapshot that calls share without a lock.

mod pick_first;
mod round_robin;

use std::{fmt::Debug, ops::Range, sync::Arc};

use http::HeaderMap;
pub use pick_first::PickFirst;
use tokio::time::Instant;

use crate::{resolver::Endpoint, subchannel::Ready};

/// How a channel spreads its calls: a [load balancing policy] of gRPC.
///
/// [load balancing policy]: https://github.com/grpc/grpc/blob/master/doc/load-balancing.md
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Policy {
    /// `round_robin`: every READY endpoint in strict turn.
    #[default]
    RoundRobin,
    /// `pick_first`: one endpoint, until its connection is lost.
    PickFirst(PickFirst),
}

/// Makes pickers. Lives with the balancer, so it may keep state from one picker to the next.
pub(crate) trait MakePicker: Debug + Send {
    /// Which endpoints of a new set this policy has to do with, in the order it wants them.
    fn endpoints(&mut self, listed: Arc<[Endpoint]>) -> Arc<[Endpoint]> {
        listed
    }

    /// Which of [`endpoints`](Self::endpoints)' are to be connected now. Asked again after each
    /// change of a subchannel; one that was wanted and no longer is gets drained.
    fn connects(&mut self, candidates: &Candidates<'_>) -> Range<usize> {
        0..candidates.endpoints.len()
    }

    /// When to be asked again although nothing has changed.
    fn wake(&self) -> Option<Instant> {
        None
    }

    /// A picker over `ready`, which is never empty, in the order of the addresses.
    fn picker(&mut self, ready: Vec<Arc<Ready>>) -> Box<dyn Pick>;
}

/// Picks for every call, from many threads at once.
pub(crate) trait Pick: Debug + Send + Sync {
    /// The subchannel for this call, or none when every connection has just been lost.
    fn pick(&self, call: &Call<'_>) -> Option<&Arc<Ready>>;
}

/// What a picker may know of the call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    #[expect(dead_code, reason = "the policies that hash a header come next")]
    pub(crate) headers: &'a HeaderMap,
}

/// A policy's endpoints, and how each of them stands.
pub(crate) struct Candidates<'a> {
    pub(crate) endpoints: &'a [Endpoint],
    pub(crate) standing: &'a dyn Fn(&Endpoint) -> Standing,
}

/// How the subchannel of an endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not tried: it was not wanted.
    Untried,
    /// Connecting since then.
    Connecting(Instant),
    Ready,
    /// An attempt has failed since it was last READY; it goes on trying with backoff.
    Failing,
}

// === impl Policy ===

impl Policy {
    pub(crate) fn make(self) -> Box<dyn MakePicker> {
        match self {
            Self::RoundRobin => Box::new(round_robin::RoundRobin::default()),
            Self::PickFirst(config) => Box::new(pick_first::Make::new(config)),
        }
    }
}

impl From<PickFirst> for Policy {
    fn from(config: PickFirst) -> Self {
        Self::PickFirst(config)
    }
}
