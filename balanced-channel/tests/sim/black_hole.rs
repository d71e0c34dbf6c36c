//! A backend that swallows every packet: nothing is closed and nothing answers.

use std::time::Duration;

use balanced_channel::OutlierDetection;
use tokio::time::{Instant, sleep};
use tonic::Code;

use crate::{
    cluster::{Cluster, simulate},
    load::{Load, ready},
    network::FINE,
    registry::Registry,
};

#[test]
fn a_black_hole_gets_no_more_calls_after_five_deadlines_and_the_others_never_wait() {
    simulate(FINE, ["good", "bad"], |[good, bad]| async move {
        let backends = [good.backends(2), bad.backends(1)].concat();
        let deadline = Duration::from_millis(200);
        let outliers = OutlierDetection { min_attempt_time: deadline / 2, ..OutlierDetection::default() };
        let channel = Registry::of(&backends).builder().outlier_detection(outliers).build().unwrap();
        ready(&channel, 3).await;
        let load = Load { deadline: Some(deadline), ..Load::default() }.start(&channel);
        sleep(Duration::from_secs(2)).await;
        turmoil::hold("client", "bad");
        let cut = Instant::now();
        sleep(Duration::from_secs(10)).await;

        let stats = load.stop().await;
        assert!(!stats.failed.is_empty() && stats.succeeded > 20_000, "{} calls", stats.succeeded);
        for (when, status) in &stats.failed {
            assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
            // The first calls set out at the cut, fail at their deadline, and that ends it: the last
            // to fail are those that had set out before it was known.
            let after = *when - cut;
            assert!(after <= 2 * deadline + Duration::from_millis(50), "failed {after:?} after the cut");
        }
        assert!(stats.slowest_success < Duration::from_millis(50), "{:?}", stats.slowest_success);
    });
}

#[test]
fn a_black_hole_gets_no_more_calls_after_five_seconds_without_any_deadline() {
    simulate(FINE, ["good", "bad"], |[good, bad]| async move {
        let Cluster { backends, channel, .. } =
            Cluster::of([good.backends(2), bad.backends(1)].concat()).await;
        let given = || {
            let snapshot = channel.snapshot();
            snapshot.subchannels.iter().find(|s| s.address == backends[2].address).unwrap().started
        };
        let load = Load { burst: 1, ..Load::default() }.start(&channel);
        sleep(Duration::from_secs(2)).await;
        turmoil::hold("client", "bad");
        let cut = Instant::now();
        let before = channel.snapshot().subchannels.iter().map(|s| s.in_flight).sum::<u64>();
        let (mut calls, mut last, first) = (given(), cut, given());
        while cut.elapsed() < Duration::from_secs(15) {
            sleep(Duration::from_millis(10)).await;
            if given() > calls {
                (calls, last) = (given(), Instant::now());
            }
        }
        let after = last - cut;
        assert!(after <= Duration::from_secs(5), "a call went to the black hole {after:?} after the cut");
        // Calls to the black hole end as well, and calls to other servers never waited.
        let stats = load.stop().await;
        assert!(!stats.failed.is_empty());
        assert!(stats.failed.iter().all(|(_, status)| status.code() == Code::Unavailable));
        let (harmed, there) = (stats.slow + stats.failed.len() as u64, calls - first + before);
        assert!(harmed <= there, "{harmed} calls were late or lost, and {there} were there");
    });
}
