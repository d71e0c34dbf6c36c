//! The resolver fails while all backends are healthy.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::sleep;

use crate::{
    cluster::{Cluster, simulate},
    load::{Load, ready},
    network::COARSE,
};

#[test]
fn resolver_that_fails_for_ten_minutes_fails_no_call() {
    simulate(COARSE, ["machine"], |[node]| async move {
        let Cluster { backends, registry, channel } = Cluster::with(&node, 3).await;
        registry.fail();
        let before = registry.lookups.load(Ordering::Relaxed);
        let steady = Load { burst: 10, every: Duration::from_secs(1), ..Load::default() }.start(&channel);
        for minute in 1..=10 {
            sleep(Duration::from_secs(59)).await;
            // Sends 1 000 calls in the last second of each minute.
            let rush = Load { burst: 1, ..Load::default() }.start(&channel);
            sleep(Duration::from_secs(1)).await;
            rush.stop().await.assert_all_succeeded(1000);
            // The channel reconnects to a restarted backend without the resolver.
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
        // Lookups are 5 s apart, plus or minus a fifth, and the ten restarts request some more.
        assert!((100..200).contains(&lookups), "{lookups} lookups in ten minutes");
    });
}
