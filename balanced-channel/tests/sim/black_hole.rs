//! A backend whose packets are all dropped: no connection is closed and no call gets a response.

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
fn black_holed_backend_is_ejected_after_five_missed_deadlines() {
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
            // The first calls after the cut fail at their deadline and eject the backend. The last failures are those
            // of calls that were sent before the ejection.
            let after = *when - cut;
            assert!(after <= 2 * deadline + Duration::from_millis(50), "failed {after:?} after the cut");
        }
        assert!(stats.slowest_success < Duration::from_millis(50), "{:?}", stats.slowest_success);
    });
}

#[test]
fn black_holed_backend_gets_no_calls_after_five_seconds_without_deadlines() {
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
        // Calls to the black hole fail too, and calls to other servers are not delayed.
        let stats = load.stop().await;
        assert!(!stats.failed.is_empty());
        assert!(stats.failed.iter().all(|(_, status)| status.code() == Code::Unavailable));
        let (harmed, there) = (stats.slow + stats.failed.len() as u64, calls - first + before);
        assert!(harmed <= there, "{harmed} calls were late or lost, and {there} were sent there");
    });
}
