//! Which subchannel takes an attempt, and the wait until there is one.

use std::sync::Arc;

use tonic::Status;

use super::{Call, CallExecutor};
use crate::{
    balancer::ChannelPicker,
    policy::{self, Picker},
    subchannel::{ReadySubchannel, Subchannel},
};

/// The number of times that a picker is asked for a subchannel that has not failed the call yet.
const MAX_PICKS: usize = 8;

impl CallExecutor {
    /// A subchannel that takes calls now, if possible not one of those that were `tried`.
    pub(super) async fn ready(
        &self,
        call: &Call<'_>,
        tried: &[Arc<Subchannel>],
    ) -> Result<Arc<ReadySubchannel>, Status> {
        if let Some(ready) = self.pick(call, tried)? {
            return Ok(ready);
        }
        let mut versions = self.published.subscribe();
        loop {
            // Picked again after subscribing, so that no picker is missed.
            if let Some(ready) = self.pick(call, tried)? {
                return Ok(ready);
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

    fn pick(
        &self,
        call: &Call<'_>,
        tried: &[Arc<Subchannel>],
    ) -> Result<Option<Arc<ReadySubchannel>>, Status> {
        match &**self.published.picker() {
            ChannelPicker::Ready(picker) => Ok(untried(&**picker, call, tried).cloned()),
            ChannelPicker::TransientFailure(why) if !call.wait_for_ready => {
                Err(Status::unavailable(format!("{}: {why}", self.target)))
            }
            ChannelPicker::TransientFailure(_) | ChannelPicker::Connecting => Ok(None),
        }
    }
}

/// Picks a subchannel. For a retry, prefers one that was not tried, or else the
/// one whose try is the longest ago.
fn untried<'a>(
    picker: &'a dyn Picker,
    call: &Call<'_>,
    tried: &[Arc<Subchannel>],
) -> Option<&'a Arc<ReadySubchannel>> {
    let call = policy::PickArgs { headers: &call.head.headers };
    let when = |ready: &ReadySubchannel| {
        tried.iter().rposition(|subchannel| Arc::ptr_eq(subchannel, &ready.subchannel))
    };
    let mut best = picker.pick(&call)?;
    for _ in 1..MAX_PICKS {
        // None, never tried, is less than any try.
        let Some(last) = when(best) else { break };
        let Some(other) = picker.pick(&call) else { break };
        if when(other) < Some(last) {
            best = other;
        }
    }
    Some(best)
}
