//! The resolver fails while the pool is healthy.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::sleep;

use crate::{
    cluster::{Cluster, simulate},
    load::{Load, ready},
    network::COARSE,
};

#[test]
fn a_resolver_that_fails_for_ten_minutes_costs_no_call() {
    simulate(COARSE, ["machine"], |[node]| async move {
        let Cluster { backends, registry, channel } = Cluster::with(&node, 3).await;
        registry.fail();
        let before = registry.lookups.load(Ordering::Relaxed);
        let steady = Load { burst: 10, every: Duration::from_secs(1), ..Load::default() }.start(&channel);
        for minute in 1..=10 {
            sleep(Duration::from_secs(59)).await;
            // In the last second of each minute, 1 000 calls.
            let rush = Load { burst: 1, ..Load::default() }.start(&channel);
            sleep(Duration::from_secs(1)).await;
            rush.stop().await.assert_all_succeeded(1000);
            // A backend that comes back is found without the resolver.
            let restarted = &backends[minute % 3];
            restarted.drain();
            sleep(Duration::from_millis(200)).await;
            restarted.start();
            ready(&channel, 3).await;
        }
        let snapshot = channel.snapshot();
        assert!(snapshot.resolver.error.is_some() && snapshot.resolver.endpoints == Some(3), "{snapshot:?}");
        steady.stop().await.assert_all_succeeded(6000);
        let lookups = registry.lookups.load(Ordering::Relaxed) - before;
        // Five seconds apart, give or take a fifth, but for what the ten restarts asked for.
        assert!((100..200).contains(&lookups), "{lookups} lookups in ten minutes");
    });
}
