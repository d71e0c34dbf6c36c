//! Every backend is restarted, one after another, under load.

use std::time::Duration;

use balanced_channel::Channel;
use tokio::time::sleep;

use crate::{
    cluster::{Cluster, simulate},
    load::{Load, ready, until},
    network::FINE,
    node::Backend,
};

const CALLS: u64 = 50_000;

/// Waits until the only READY subchannels are those of `backends`.
async fn serving(channel: &Channel, backends: &[Backend]) {
    until("the new backends and no other", || {
        let snapshot = channel.snapshot();
        let listed = snapshot.subchannels.iter().all(|s| backends.iter().any(|b| b.address == s.address));
        (listed && snapshot.ready() == backends.len()).then_some(())
    })
    .await;
}

#[test]
fn rolling_restart_at_the_same_addresses_fails_none_of_50_000_calls() {
    simulate(FINE, ["machine"], |[node]| async move {
        let Cluster { backends, channel, .. } = Cluster::with(&node, 3).await;
        let load = Load::default().start(&channel);
        let mut restarts = 0;
        while load.stats().succeeded < CALLS {
            let backend = &backends[restarts % 3];
            backend.drain();
            until("the last connection's end", || (backend.connections() == 0).then_some(())).await;
            sleep(Duration::from_millis(500)).await;
            backend.start();
            ready(&channel, 3).await;
            restarts += 1;
        }
        assert!(restarts >= 9, "{restarts} restarts are not three rounds");
        load.stop().await.assert_all_succeeded(CALLS);
    });
}

#[test]
fn rolling_restart_at_new_addresses_fails_none_of_50_000_calls() {
    simulate(FINE, ["machine"], |[node]| async move {
        let Cluster { mut backends, registry, channel } = Cluster::with(&node, 3).await;
        let load = Load::default().start(&channel);
        let mut replaced = 0;
        while load.stats().succeeded < CALLS {
            // Like a Deployment: as soon as a new pod is ready, an old one is terminated. The old pod drains and then
            // refuses connections before the channel has queried the registry again.
            let new = node.backend(9000 + replaced).started();
            sleep(Duration::from_millis(100)).await;
            let old = std::mem::replace(&mut backends[usize::from(replaced % 3)], new);
            registry.list(&backends);
            old.drain();
            until("the last connection's end", || (old.connections() == 0).then_some(())).await;
            old.kill();
            serving(&channel, &backends).await;
            replaced += 1;
        }
        assert!(replaced >= 9, "{replaced} replacements are not three rounds");
        load.stop().await.assert_all_succeeded(CALLS);
    });
}
