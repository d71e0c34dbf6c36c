//! `pick_first`: one connection, to the first endpoint that can be had (gRFC A62).

use std::{collections::HashSet, ops::Range, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Call, Candidates, MakePicker, Pick, Standing};
use crate::{resolver::Endpoint, subchannel::Ready};

/// How long an attempt may take before the next endpoint is tried beside it (gRFC A61).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// `pick_first` ([gRFC A62]): every call goes to the first endpoint that can be connected, and stays
/// with it until that connection is lost.
///
/// Endpoints are tried in their order, the next one when the one before fails or takes longer than
/// 250 ms. It holds one connection. This is what a gRPC client does when it is told nothing, and why
/// one pod of many works.
///
/// [gRFC A62]: https://github.com/grpc/proposal/blob/master/A62-pick-first.md
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PickFirst {
    /// Whether endpoints are tried in a random order, so that many clients spread over them.
    /// Default: no.
    pub shuffle: bool,
}

/// The order, and when an attempt has had its time.
#[derive(Debug)]
pub(super) struct Make {
    config: PickFirst,
    order: Arc<[Endpoint]>,
    next: Option<Instant>,
}

#[derive(Debug)]
struct Picker(Vec<Arc<Ready>>);

// === impl PickFirst ===

impl PickFirst {
    /// Tries endpoints in a random order if `shuffle` is set.
    pub fn shuffle(mut self, shuffle: bool) -> Self {
        self.shuffle = shuffle;
        self
    }
}

// === impl Make ===

impl Make {
    pub(super) fn new(config: PickFirst) -> Self {
        Self { config, order: Arc::default(), next: None }
    }
}

impl MakePicker for Make {
    fn endpoints(&mut self, mut listed: Arc<[Endpoint]>) -> Arc<[Endpoint]> {
        // DNS turns its answers round: the same endpoints do not interrupt a walk over them.
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

    /// The one that is READY; with none, all that were tried in vain and the one being tried.
    fn connects(&mut self, candidates: &Candidates<'_>) -> Range<usize> {
        let standings: Vec<_> = candidates.endpoints.iter().map(candidates.standing).collect();
        self.next = None;
        if let Some(ready) = standings.iter().position(|standing| *standing == Standing::Ready) {
            return ready..ready + 1;
        }
        let now = Instant::now();
        let trying = standings.iter().position(|standing| match standing {
            Standing::Connecting(since) => {
                let next = *since + ATTEMPT_DELAY;
                let waits = now < next;
                self.next = waits.then_some(next);
                waits
            }
            standing => *standing == Standing::Untried,
        });
        0..trying.map_or(standings.len(), |trying| trying + 1)
    }

    fn wake(&self) -> Option<Instant> {
        self.next
    }

    fn picker(&mut self, ready: Vec<Arc<Ready>>) -> Box<dyn Pick> {
        Box::new(Picker(ready))
    }
}

// === impl Picker ===

impl Pick for Picker {
    fn pick(&self, _: &Call<'_>) -> Option<&Arc<Ready>> {
        self.0.iter().find(|ready| ready.is_open())
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn endpoints(hosts: &[u8]) -> Arc<[Endpoint]> {
        hosts.iter().map(|host| SocketAddr::from(([10, 0, 0, *host], 80)).into()).collect()
    }

    fn connects(make: &mut Make, standings: &[Standing]) -> Range<usize> {
        let endpoints = endpoints(&(0..standings.len() as u8).collect::<Vec<_>>());
        let standing =
            |endpoint: &Endpoint| standings[endpoints.iter().position(|other| other == endpoint).unwrap()];
        make.connects(&Candidates { endpoints: &endpoints, standing: &standing })
    }

    #[tokio::test(start_paused = true)]
    async fn endpoints_are_tried_in_turn_until_one_is_ready() {
        use Standing::{Connecting, Failing, Ready, Untried};
        let mut make = Make::new(PickFirst::default());
        let now = Instant::now();
        assert_eq!(connects(&mut make, &[Untried, Untried, Untried]), 0..1);
        assert_eq!(connects(&mut make, &[Failing, Untried, Untried]), 0..2);
        assert_eq!(connects(&mut make, &[Failing, Connecting(now), Untried]), 0..2);
        assert_eq!(connects(&mut make, &[Failing, Failing, Failing]), 0..3);
        assert_eq!(connects(&mut make, &[Failing, Ready, Failing]), 1..2);
        assert_eq!(connects(&mut make, &[]), 0..0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_attempt_does_not_hold_up_the_next_one() {
        use Standing::{Connecting, Untried};
        let mut make = Make::new(PickFirst::default());
        let since = Instant::now();
        assert_eq!(connects(&mut make, &[Connecting(since), Untried]), 0..1);
        assert_eq!(make.wake(), Some(since + ATTEMPT_DELAY));
        tokio::time::advance(ATTEMPT_DELAY).await;
        assert_eq!(connects(&mut make, &[Connecting(since), Untried]), 0..2);
        assert_eq!(connects(&mut make, &[Connecting(since), Connecting(since)]), 0..2);
        assert_eq!(make.wake(), None);
    }

    #[test]
    fn the_same_endpoints_in_another_order_change_nothing() {
        let mut make = Make::new(PickFirst::default());
        assert_eq!(make.endpoints(endpoints(&[1, 2, 3])), endpoints(&[1, 2, 3]));
        assert_eq!(make.endpoints(endpoints(&[3, 1, 2])), endpoints(&[1, 2, 3]));
        assert_eq!(make.endpoints(endpoints(&[3, 1])), endpoints(&[3, 1]));
    }

    #[test]
    fn a_shuffle_starts_anywhere() {
        let firsts: HashSet<_> = (0..100)
            .map(|_| {
                Make::new(PickFirst::default().shuffle(true)).endpoints(endpoints(&[1, 2, 3]))[0].clone()
            })
            .collect();
        assert_eq!(firsts.len(), 3);
    }
}
