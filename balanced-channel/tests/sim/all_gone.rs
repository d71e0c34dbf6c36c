//! Every backend disappears for half a minute, and new ones appear at other addresses.

use std::time::Duration;

use balanced_channel::Channel;
use tokio::time::{Instant, sleep};
use tonic::Code;

use crate::{
    cluster::{Cluster, simulate},
    load::{Load, call, ready},
    network::FINE,
    node::Backend,
    registry::Registry,
};

const GONE: Duration = Duration::from_secs(30);
const BOUND: Duration = Duration::from_millis(1500);
/// The deadline of the calls.
const DEADLINE: Option<Duration> = Some(Duration::from_millis(250));

/// Lists `backends` and waits for the first call that succeeds.
async fn returns(channel: &Channel, registry: &Registry, backends: &[Backend]) {
    registry.list(backends);
    let listed = Instant::now();
    while call(channel, 0, DEADLINE).await.is_err() {
        sleep(Duration::from_millis(1)).await;
    }
    let took = listed.elapsed();
    assert!(took <= BOUND, "the first success came {took:?} after the registry showed the backends");
}

#[test]
fn calls_fail_without_backends_and_succeed_soon_after_new_addresses_are_listed() {
    simulate(FINE, ["machine"], |[node]| async move {
        let registry = Registry::of(&[]);
        let channel = registry.channel();
        // Changes the set at several times between two lookups, with and without an empty set in between.
        for (round, emptied) in [(1, true), (2, false), (3, true), (4, false), (5, false)] {
            let backends: Vec<_> = (0..3).map(|n| node.backend(100 * round + n).started()).collect();
            sleep(Duration::from_millis(137)).await;
            registry.list(&backends);
            ready(&channel, 3).await;
            let load = Load { deadline: DEADLINE, burst: 1, ..Load::default() }.start(&channel);
            sleep(Duration::from_secs(2)).await;
            backends.iter().for_each(Backend::kill);
            if emptied {
                registry.list(&[]);
            }
            sleep(Duration::from_secs(2)).await;
            let stats = load.stop().await;
            assert!(stats.succeeded > 1900, "{stats:?}");
            assert!(stats.failed.iter().all(|(_, status)| status.code() == Code::Unavailable));
            sleep(GONE - Duration::from_secs(2) + Duration::from_millis(u64::from(round) * 173)).await;

            let new: Vec<_> = (0..3).map(|n| node.backend(1000 + 100 * round + n).started()).collect();
            sleep(Duration::from_millis(10)).await;
            returns(&channel, &registry, &new).await;
            new.iter().for_each(Backend::kill);
        }
    });
}

#[test]
fn black_holed_addresses_do_not_delay_recovery() {
    simulate(FINE, ["old", "new"], |[old, new]| async move {
        let Cluster { registry, channel, .. } = Cluster::with(&old, 3).await;
        // The whole machine fails: no connection is closed, and calls get no response.
        let load = Load { deadline: DEADLINE, burst: 1, ..Load::default() }.start(&channel);
        turmoil::hold("client", "old");
        sleep(GONE).await;
        drop(load.stop().await);
        for late in 0..5 {
            let backends = [new.backend(9000 + late).started()];
            sleep(Duration::from_millis(371)).await;
            returns(&channel, &registry, &backends).await;
            ready(&channel, 1).await;
            backends[0].kill();
            registry.list([&old.backend(100 + late)]);
            sleep(GONE).await;
        }
    });
}
