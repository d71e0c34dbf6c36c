//! A channel without calls for an hour.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{
    cluster::{Cluster, simulate},
    load::call,
    node::Backend,
};

/// The tick of the simulation. It is long, because an hour has many ticks.
const TICK: Duration = Duration::from_millis(50);

#[test]
fn first_call_after_an_idle_hour_succeeds_at_once_after_every_endpoint_was_replaced() {
    simulate(TICK, ["machine"], |[node]| async move {
        let Cluster { backends: old, registry, channel } = Cluster::with(&node, 3).await;
        sleep(Duration::from_secs(30 * 60)).await;
        let new: Vec<_> = (0..3).map(|n| node.backend(9000 + n).started()).collect();
        registry.list(&new);
        sleep(Duration::from_secs(10)).await;
        assert!(
            old.iter().all(|backend| backend.connections() == 0),
            "endpoints that are not listed are disconnected"
        );
        old.iter().for_each(Backend::kill);
        sleep(Duration::from_secs(30 * 60)).await;

        let began = Instant::now();
        call(&channel, 0, None).await.unwrap();
        let took = began.elapsed();
        assert!(took <= 3 * TICK, "the first call took {took:?}; the round trip is {:?}", 2 * TICK);
        let made: u64 = new.iter().map(|backend| backend.counts.accepted()).sum();
        assert_eq!(made, 3, "connections are made once");
    });
}
