//! Picks the subchannel of an attempt, and waits until there is one.

use std::{
    future::pending,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tonic::Status;

use super::{Call, CallExecutor};
use crate::{
    balancer::ChannelPicker,
    policy::{PickArgs, PickResult, Picker},
    subchannel::ReadySubchannel,
};

/// The maximum number of picks with which a further attempt searches for a subchannel that has not had the call yet.
const MAX_PICKS: usize = 8;

/// The subchannels that a call was sent to, in order. Further attempts prefer others.
#[derive(Debug, Default)]
pub(crate) struct Tried(Mutex<Vec<TriedSubchannel>>);

#[derive(Debug)]
struct TriedSubchannel {
    ready: Arc<ReadySubchannel>,
    /// True while a response may still arrive from the subchannel, and its peer was not yet reported as unresponsive.
    watched: bool,
}

impl CallExecutor {
    /// Picks a subchannel, if possible not one that the call was sent to before. Waits until there is one.
    pub(super) async fn wait_for_pick(&self, call: &Call<'_>) -> Result<PickResult, Status> {
        if let Some(pick) = self.pick(call)? {
            return Ok(pick);
        }
        let mut versions = self.published.subscribe();
        loop {
            // Picked again after subscribing, so that no picker is missed.
            if let Some(pick) = self.pick(call)? {
                return Ok(pick);
            }
            let Some(changed) = call.deadline.bound(versions.changed()).await else {
                return Err(call.deadline.exceeded(&format!("waiting for a connection to {}", self.target)));
            };
            changed.expect("the executor holds the sender");
        }
    }

    fn pick(&self, call: &Call<'_>) -> Result<Option<PickResult>, Status> {
        match &**self.published.picker() {
            ChannelPicker::Ready(picker) => Ok(untried(&**picker, call)),
            ChannelPicker::TransientFailure(why) if !call.wait_for_ready => {
                Err(Status::unavailable(format!("{}: {why}", self.target)))
            }
            ChannelPicker::TransientFailure(_) | ChannelPicker::Connecting => Ok(None),
            ChannelPicker::Closed => Err(Status::unavailable(format!(
                "{}: the channel is closed: the tokio runtime on which it was built has ended",
                self.target
            ))),
        }
    }
}

/// Picks a subchannel. For a further attempt, prefers one that was not tried, or else the least recently tried one.
fn untried(picker: &dyn Picker, call: &Call<'_>) -> Option<PickResult> {
    let args = PickArgs { headers: &call.head.headers };
    let mut best = picker.pick(&args)?;
    let tried = call.tried.lock();
    let when = |pick: &PickResult| {
        let same = |one: &TriedSubchannel| Arc::ptr_eq(&one.ready.subchannel, &pick.subchannel.subchannel);
        tried.iter().rposition(same)
    };
    for _ in 1..MAX_PICKS {
        // A subchannel that was never tried is preferred to one that was.
        let Some(last) = when(&best) else { break };
        let Some(other) = picker.pick(&args) else { break };
        if when(&other) < Some(last) {
            best = other;
        }
    }
    Some(best)
}

// === impl Tried ===

impl Tried {
    /// Adds the subchannel of an attempt. `pending` is true while the attempt goes on.
    pub(super) fn push(&self, ready: &Arc<ReadySubchannel>, pending: bool) {
        self.lock().push(TriedSubchannel { ready: ready.clone(), watched: pending });
    }

    /// Records that the latest attempt on this subchannel has failed.
    pub(super) fn failed(&self, ready: &Arc<ReadySubchannel>) {
        let mut tried = self.lock();
        match tried.iter_mut().rfind(|one| Arc::ptr_eq(&one.ready, ready)) {
            Some(one) => one.watched = false,
            None => tried.push(TriedSubchannel { ready: ready.clone(), watched: false }),
        }
    }

    /// Waits until the peer of an attempt in flight leaves a keepalive PING unanswered. Reports each peer once.
    pub(super) async fn unresponsive(&self) {
        let watched: Vec<_> =
            self.lock().iter().filter(|one| one.watched).map(|one| one.ready.clone()).collect();
        let waits: FuturesUnordered<_> = watched
            .into_iter()
            .map(|ready| async move {
                ready.client.unresponsive().await;
                ready
            })
            .collect();
        match pin!(waits).next().await {
            Some(ready) => self.failed(&ready),
            None => pending().await,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<TriedSubchannel>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
