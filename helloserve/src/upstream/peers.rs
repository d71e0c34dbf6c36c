//! Finds the peer that has stopped responding.
//!
//! reqwest does not report which pooled connection carries a request before its response starts, so that a silent peer is
//! found by comparing the times of the peers' last responses.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use tokio::time::Instant;

/// The maximum number of peers. Further ones are not tracked.
const MAX_PEERS: usize = 1024;

/// Tracks the time of each peer's last response.
#[derive(Debug, Default)]
pub(super) struct Peers(Mutex<HashMap<IpAddr, Instant>>);

// === impl Peers ===

impl Peers {
    /// Records a response.
    pub(super) fn responded(&self, peer: IpAddr) {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() < MAX_PEERS || peers.contains_key(&peer) {
            peers.insert(peer, Instant::now());
        }
    }

    /// Returns the peers that may not have responded to a request sent on a pooled connection at `sent`. If any peer has
    /// responded since then, these are the peers that have not. Otherwise it is the peer that responded last, because the
    /// pool reuses the connection that was used last.
    pub(super) fn silent_since(&self, sent: Instant) -> Vec<IpAddr> {
        let peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.values().any(|at| *at > sent) {
            return peers.iter().filter(|(_, at)| **at <= sent).map(|(peer, _)| *peer).collect();
        }
        peers.iter().max_by_key(|(_, at)| **at).map(|(peer, _)| *peer).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    const TICK: Duration = Duration::from_millis(10);

    fn ip(last: u8) -> IpAddr {
        [127, 0, 0, last].into()
    }

    #[tokio::test(start_paused = true)]
    async fn silent_peer_is_the_one_without_a_response_while_others_respond() {
        let peers = Peers::default();
        for last in [1, 2, 3] {
            peers.responded(ip(last));
        }
        advance(TICK).await;
        let sent = Instant::now();
        advance(TICK).await;
        peers.responded(ip(1));
        peers.responded(ip(3));
        assert_eq!(peers.silent_since(sent), [ip(2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn silent_peer_is_the_last_responder_when_no_other_responds() {
        let peers = Peers::default();
        peers.responded(ip(1));
        advance(TICK).await;
        peers.responded(ip(2));
        advance(TICK).await;
        assert_eq!(peers.silent_since(Instant::now()), [ip(2)]);
    }
}
