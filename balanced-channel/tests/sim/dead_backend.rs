//! One backend of three is down from the start, or is killed under load and restarted.

use std::time::Duration;

use balanced_channel::RetryPolicy;
use tokio::time::{Instant, sleep};

use crate::{
    cluster::{Cluster, simulate},
    load::{Load, ready, until},
    network::FINE,
    registry::Registry,
};

#[test]
fn backend_that_is_down_from_the_start_fails_no_call() {
    simulate(FINE, ["machine"], |[node]| async move {
        let backends = node.backends(3);
        backends[1].kill();
        let channel = Registry::of(&backends).channel();
        let load = Load::default().start(&channel);
        sleep(Duration::from_secs(5)).await;
        load.stop().await.assert_all_succeeded(10_000);
    });
}

#[test]
fn kill_with_a_retry_policy_fails_no_call() {
    simulate(FINE, ["machine"], |[node]| async move {
        let backends = node.backends(3);
        let channel = Registry::of(&backends).builder().retry_policy(RetryPolicy::default()).build().unwrap();
        ready(&channel, 3).await;
        let load = Load { work_ms: 300, ..Load::default() }.start(&channel);
        for victim in &backends {
            sleep(Duration::from_secs(1)).await;
            victim.kill();
            sleep(Duration::from_secs(1)).await;
            victim.start();
            ready(&channel, 3).await;
        }
        let stats = load.stop().await;
        assert!(stats.most_in_flight >= 600, "{} calls in flight", stats.most_in_flight);
        stats.assert_all_succeeded(10_000);
    });
}

#[test]
fn kill_fails_at_most_calls_in_flight_and_restart_restores_traffic() {
    simulate(FINE, ["machine"], |[node]| async move {
        let Cluster { backends, channel, .. } = Cluster::with(&node, 3).await;
        let load = Load { work_ms: 300, ..Load::default() }.start(&channel);
        for down in [10, 1500, 7300] {
            sleep(Duration::from_secs(2)).await;
            let failed = load.stats().failed.len() as u64;
            let victim = &backends[1];
            let in_flight = channel.snapshot().subchannels[1].in_flight;
            assert!(in_flight > 150, "{in_flight} calls in flight are no load");
            victim.kill();
            sleep(Duration::from_millis(down)).await;
            let lost = load.stats().failed.len() as u64 - failed;
            // Two more calls may be sent in the millisecond before the client sees the reset.
            assert!(lost <= in_flight + 2, "{lost} calls failed, {in_flight} were in flight");

            let before = victim.calls();
            victim.start();
            let started = Instant::now();
            until("traffic", || (victim.calls() > before).then_some(())).await;
            // The rest of the backoff is at most 0.64 of the time for which the backend was down.
            let bound = Duration::from_millis(1500).max(Duration::from_millis(down));
            let back = started.elapsed();
            assert!(back <= bound, "traffic came back after {back:?}, {bound:?} are allowed");
        }
        load.stop().await;
    });
}
