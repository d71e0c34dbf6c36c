//! Which subchannel takes an attempt, and the wait until there is one.

use std::sync::Arc;

use tonic::Status;

use super::{Call, CallExecutor};
use crate::{
    balancer::ChannelPicker,
    policy::{PickArgs, PickResult, Picker},
    subchannel::Subchannel,
};

/// The number of times that a retry asks the picker for a subchannel that has not failed the call yet.
const MAX_PICKS: usize = 8;

impl CallExecutor {
    /// Picks a subchannel, if possible not one of those that were `tried`. Waits until there is one.
    pub(super) async fn wait_for_pick(
        &self,
        call: &Call<'_>,
        tried: &[Arc<Subchannel>],
    ) -> Result<PickResult, Status> {
        if let Some(pick) = self.pick(call, tried)? {
            return Ok(pick);
        }
        let mut versions = self.published.subscribe();
        loop {
            // Picked again after subscribing, so that no picker is missed.
            if let Some(pick) = self.pick(call, tried)? {
                return Ok(pick);
            }
            match call.deadline.bound(versions.changed()).await {
                Some(Ok(())) => {}
                Some(Err(_)) => {
                    return Err(Status::unavailable(format!("{}: the channel is closed", self.target)));
                }
                None => {
                    return Err(call
                        .deadline
                        .exceeded(&format!("waiting for a connection to {}", self.target)));
                }
            }
        }
    }

    fn pick(&self, call: &Call<'_>, tried: &[Arc<Subchannel>]) -> Result<Option<PickResult>, Status> {
        match &**self.published.picker() {
            ChannelPicker::Ready(picker) => Ok(untried(&**picker, call, tried)),
            ChannelPicker::TransientFailure(why) if !call.wait_for_ready => {
                Err(Status::unavailable(format!("{}: {why}", self.target)))
            }
            ChannelPicker::TransientFailure(_) | ChannelPicker::Connecting => Ok(None),
        }
    }
}

/// Picks a subchannel. For a retry, prefers one that was not tried, or else the
/// one whose try is the longest ago.
fn untried(picker: &dyn Picker, call: &Call<'_>, tried: &[Arc<Subchannel>]) -> Option<PickResult> {
    let args = PickArgs { headers: &call.head.headers };
    let when = |pick: &PickResult| {
        tried.iter().rposition(|subchannel| Arc::ptr_eq(subchannel, &pick.subchannel.subchannel))
    };
    let mut best = picker.pick(&args)?;
    for _ in 1..MAX_PICKS {
        // None, never tried, is less than any try.
        let Some(last) = when(&best) else { break };
        let Some(other) = picker.pick(&args) else { break };
        if when(&other) < Some(last) {
            best = other;
        }
    }
    Some(best)
}
