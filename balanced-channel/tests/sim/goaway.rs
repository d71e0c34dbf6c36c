//! Servers that close connections gracefully and keep running, as at a maximum connection age.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    cluster::{Cluster, simulate},
    load::{Load, call, ready, until},
    network::FINE,
};

#[test]
fn goaways_under_load_fail_no_call_and_close_no_other_connection() {
    simulate(FINE, ["machine"], |[node]| async move {
        let Cluster { backends, channel, .. } = Cluster::with(&node, 3).await;
        let load = Load { work_ms: 700, burst: 1, ..Load::default() }.start(&channel);
        for goaway in 0_u64..60 {
            // Some intervals are shorter than a call, and shorter than the minimum duration of a connection.
            sleep(Duration::from_millis([1500, 300, 20][goaway as usize % 3] + goaway % 5)).await;
            backends[0].recycle();
            backends[1].recycle();
        }
        ready(&channel, 3).await;
        let stats = load.stop().await;
        assert!(stats.most_in_flight > 600, "{} calls in flight are no load", stats.most_in_flight);
        stats.assert_all_succeeded(30_000);
        assert!(backends[0].counts.accepted() > 20, "{} connections", backends[0].counts.accepted());
        assert_eq!(backends[2].counts.accepted(), 1, "a connection without GOAWAY stays");
    });
}

#[test]
fn goaway_replaces_the_connection_before_its_last_call_ends() {
    simulate(FINE, ["machine"], |[node]| async move {
        let Cluster { backends, channel, .. } = Cluster::with(&node, 1).await;
        let slow = tokio::spawn({
            let channel = channel.clone();
            async move { call(&channel, 3000, None).await }
        });
        until("the slow call", || (backends[0].calls() == 1).then_some(())).await;
        for round in 2..5 {
            sleep(Duration::from_millis(200)).await;
            backends[0].recycle();
            sleep(Duration::from_millis(2)).await;
            // With one backend, this call can only use the new connection.
            call(&channel, 0, Some(Duration::from_millis(1500))).await.unwrap();
            assert_eq!(backends[0].counts.accepted(), round);
            assert_eq!(backends[0].connections(), 2, "the old one, with the slow call, and the new");
        }
        assert!(!slow.is_finished());
        slow.await.unwrap().unwrap();
        until("the old connection's end", || (backends[0].connections() == 1).then_some(())).await;
    });
}
