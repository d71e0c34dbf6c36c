//! `pick_first`: one connection, to the first endpoint that can be reached (gRFC A62).

use std::{collections::HashSet, ops::Range, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{CandidateState, Candidates, LbPolicy, PickArgs, PickResult, Picker};
use crate::{resolver::Endpoint, subchannel::ReadySubchannel};

/// The time after which the next endpoint is tried while an attempt to connect continues (gRFC A61).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// `pick_first` ([gRFC A62]): all calls go to the first endpoint that can be reached, until its
/// connection is lost.
///
/// Endpoints are tried in order, each when the previous one fails or takes longer than 250 ms. This is the default of
/// other gRPC clients; with a headless service, it sends all calls of a client to one pod.
///
/// [gRFC A62]: https://github.com/grpc/proposal/blob/master/A62-pick-first.md
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PickFirst {
    /// True to try endpoints in random order, so that many clients use different ones. Default: false.
    pub shuffle: bool,
}

/// The order of endpoints, and the time to try the next one.
#[derive(Debug)]
pub(super) struct PickFirstPolicy {
    config: PickFirst,
    order: Arc<[Endpoint]>,
    next: Option<Instant>,
}

#[derive(Debug)]
struct PickFirstPicker(Vec<Arc<ReadySubchannel>>);

// === impl PickFirst ===

impl PickFirst {
    /// Tries endpoints in a random order if `shuffle` is set.
    pub fn shuffle(mut self, shuffle: bool) -> Self {
        self.shuffle = shuffle;
        self
    }
}

// === impl PickFirstPolicy ===

impl PickFirstPolicy {
    pub(super) fn new(config: PickFirst) -> Self {
        Self { config, order: Arc::default(), next: None }
    }
}

impl LbPolicy for PickFirstPolicy {
    fn endpoints(&mut self, mut listed: Arc<[Endpoint]>) -> Arc<[Endpoint]> {
        // DNS servers rotate their answers: the same endpoints in another order do not restart the attempts.
        let known: HashSet<&Endpoint> = self.order.iter().collect();
        let same = known.len() == listed.len() && listed.iter().all(|endpoint| known.contains(endpoint));
        if !same {
            if self.config.shuffle {
                fastrand::shuffle(Arc::make_mut(&mut listed));
            }
            self.order = listed;
        }
        self.order.clone()
    }

    /// Returns the READY endpoint. If none is READY, returns the endpoints that have failed and the one being tried.
    fn connects(&mut self, candidates: &Candidates<'_>) -> Range<usize> {
        let states: Vec<_> = candidates.endpoints.iter().map(candidates.state).collect();
        self.next = None;
        if let Some(ready) = states.iter().position(|state| *state == CandidateState::Ready) {
            return ready..ready + 1;
        }
        let now = Instant::now();
        let trying = states.iter().position(|state| match state {
            CandidateState::Connecting(since) => {
                let next = *since + ATTEMPT_DELAY;
                let waits = now < next;
                self.next = waits.then_some(next);
                waits
            }
            state => *state == CandidateState::Idle,
        });
        0..trying.map_or(states.len(), |trying| trying + 1)
    }

    fn wake(&self) -> Option<Instant> {
        self.next
    }

    fn picker(&mut self, ready: Vec<Arc<ReadySubchannel>>) -> Box<dyn Picker> {
        Box::new(PickFirstPicker(ready))
    }
}

// === impl PickFirstPicker ===

impl Picker for PickFirstPicker {
    fn pick(&self, _: &PickArgs<'_>) -> Option<PickResult> {
        self.0.iter().find(|ready| ready.is_open()).map(PickResult::from)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn endpoints(hosts: &[u8]) -> Arc<[Endpoint]> {
        hosts.iter().map(|host| SocketAddr::from(([10, 0, 0, *host], 80)).into()).collect()
    }

    fn connects(policy: &mut PickFirstPolicy, states: &[CandidateState]) -> Range<usize> {
        let endpoints = endpoints(&(0..states.len() as u8).collect::<Vec<_>>());
        let state =
            |endpoint: &Endpoint| states[endpoints.iter().position(|other| other == endpoint).unwrap()];
        policy.connects(&Candidates { endpoints: &endpoints, state: &state })
    }

    #[tokio::test(start_paused = true)]
    async fn endpoints_are_tried_in_turn_until_one_is_ready() {
        use CandidateState::{Connecting, Idle, Ready, TransientFailure};
        let mut policy = PickFirstPolicy::new(PickFirst::default());
        let now = Instant::now();
        assert_eq!(connects(&mut policy, &[Idle, Idle, Idle]), 0..1);
        assert_eq!(connects(&mut policy, &[TransientFailure, Idle, Idle]), 0..2);
        assert_eq!(connects(&mut policy, &[TransientFailure, Connecting(now), Idle]), 0..2);
        assert_eq!(connects(&mut policy, &[TransientFailure, TransientFailure, TransientFailure]), 0..3);
        assert_eq!(connects(&mut policy, &[TransientFailure, Ready, TransientFailure]), 1..2);
        assert_eq!(connects(&mut policy, &[]), 0..0);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_attempt_does_not_delay_the_next_one() {
        use CandidateState::{Connecting, Idle};
        let mut policy = PickFirstPolicy::new(PickFirst::default());
        let since = Instant::now();
        assert_eq!(connects(&mut policy, &[Connecting(since), Idle]), 0..1);
        assert_eq!(policy.wake(), Some(since + ATTEMPT_DELAY));
        tokio::time::advance(ATTEMPT_DELAY).await;
        assert_eq!(connects(&mut policy, &[Connecting(since), Idle]), 0..2);
        assert_eq!(connects(&mut policy, &[Connecting(since), Connecting(since)]), 0..2);
        assert_eq!(policy.wake(), None);
    }

    #[test]
    fn reordered_endpoints_do_not_restart_the_attempts() {
        let mut policy = PickFirstPolicy::new(PickFirst::default());
        assert_eq!(policy.endpoints(endpoints(&[1, 2, 3])), endpoints(&[1, 2, 3]));
        assert_eq!(policy.endpoints(endpoints(&[3, 1, 2])), endpoints(&[1, 2, 3]));
        assert_eq!(policy.endpoints(endpoints(&[3, 1])), endpoints(&[3, 1]));
    }

    #[test]
    fn shuffle_starts_at_a_random_endpoint() {
        let firsts: HashSet<_> = (0..100)
            .map(|_| {
                PickFirstPolicy::new(PickFirst::default().shuffle(true)).endpoints(endpoints(&[1, 2, 3]))[0]
                    .clone()
            })
            .collect();
        assert_eq!(firsts.len(), 3);
    }
}
