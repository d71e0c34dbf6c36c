//! Tests of outlier detection in paused time, with endpoints that only have counters.

use std::sync::Arc;

use tokio::{sync::Notify, time::advance};
use tonic::Code;

use super::*;
use crate::{metrics::EjectionMetrics, subchannel::CallCounters};

/// Endpoints without connections.
struct TestPool {
    detector: Detector,
    ejections: Arc<EjectionMetrics>,
    endpoints: Vec<(CallCounters, ConsecutiveFailures, EjectionState)>,
}

impl TestPool {
    fn new(size: u8, config: OutlierDetection) -> Self {
        let endpoint = |_| {
            let consecutive_failures = ConsecutiveFailures::new(&config, Arc::new(Notify::new()));
            (CallCounters::default(), consecutive_failures, EjectionState::default())
        };
        let ejections = Arc::<EjectionMetrics>::default();
        let detector = Detector::new(config, ejections.clone());
        Self { detector, ejections, endpoints: (0..size).map(endpoint).collect() }
    }

    /// Ends `succeeded` calls of an endpoint with OK, and `failed` calls with a failure.
    fn calls(&self, endpoint: usize, succeeded: u32, failed: u32) {
        for _ in 0..succeeded {
            self.ends(endpoint, Code::Ok, CallOutcome::Success);
        }
        for _ in 0..failed {
            self.ends(endpoint, Code::Internal, CallOutcome::Success);
        }
    }

    fn ends(&self, endpoint: usize, code: Code, outcome: CallOutcome) {
        let (calls, consecutive_failures, _) = &self.endpoints[endpoint];
        calls.begin();
        calls.end(code, code == Code::Cancelled);
        consecutive_failures.record(outcome);
    }

    fn run(&mut self) -> Vec<usize> {
        let mut endpoints: Vec<_> = self
            .endpoints
            .iter_mut()
            .map(|(calls, consecutive_failures, ejection)| DetectorEndpoint {
                address: ([10, 0, 0, 1], 80).into(),
                calls,
                consecutive_failures,
                ejection,
                ready: true,
            })
            .collect();
        self.detector.run(&mut endpoints);
        self.ejected()
    }

    fn ejected(&self) -> Vec<usize> {
        let out = |at: &usize| self.endpoints[*at].2.ejected_until().is_some();
        (0..self.endpoints.len()).filter(out).collect()
    }

    /// Waits until the detector is due, and runs it. Returns the waiting time in seconds.
    async fn next(&mut self) -> Option<u64> {
        let wake = self.detector.wake(self.endpoints.iter().map(|(_, _, ejection)| ejection))?;
        let wait = wake - tokio::time::Instant::now();
        advance(wait).await;
        self.run();
        Some(wait.as_secs())
    }
}

fn success_rate() -> OutlierDetection {
    OutlierDetection { success_rate: Some(SuccessRate::default()), ..OutlierDetection::off() }
}

fn failure_percentage() -> OutlierDetection {
    OutlierDetection { failure_percentage: Some(FailurePercentage::default()), ..OutlierDetection::off() }
}

#[tokio::test(start_paused = true)]
async fn success_rate_far_below_the_mean_ejects() {
    // Mean 0.9, deviation 0.2, threshold 0.9 - 1.9 * 0.2 = 0.52.
    let mut pool = TestPool::new(5, success_rate());
    (0..4).for_each(|endpoint| pool.calls(endpoint, 100, 0));
    pool.calls(4, 50, 50);
    assert_eq!(pool.run(), [0; 0], "not before the interval is over");
    assert_eq!(pool.next().await, Some(10));
    assert_eq!(pool.ejected(), [4]);
}

#[tokio::test(start_paused = true)]
async fn outliers_are_counted_by_rule_and_outcome() {
    let by_chance = |percent| FailurePercentage { enforcement_percentage: percent, ..Default::default() };
    let by_rate = SuccessRate { enforcement_percentage: 0, ..SuccessRate::default() };
    let config = |percent| OutlierDetection {
        success_rate: Some(by_rate),
        failure_percentage: Some(by_chance(percent)),
        ..OutlierDetection::off()
    };
    let done = |pool: &TestPool| {
        let metrics = pool.ejections.read();
        let points = metrics.iter().flat_map(|metric| &metric.points);
        let text = |point: &crate::metrics::Point| {
            let labels: Vec<_> = point.labels.iter().map(|(_, value)| value.as_str()).collect();
            format!("{} {}", labels.join(" "), point.count().unwrap())
        };
        points.map(text).collect::<Vec<_>>()
    };
    let unenforced = "success_rate enforcement_percentage 1";
    for (percent, count) in [
        (100, ["failure_percentage 1", unenforced]),
        (0, [unenforced, "failure_percentage enforcement_percentage 1"]),
    ] {
        let mut pool = TestPool::new(5, config(percent));
        (0..4).for_each(|endpoint| pool.calls(endpoint, 100, 0));
        pool.calls(4, 0, 100);
        pool.next().await;
        assert_eq!(done(&pool), count, "enforced at {percent} %");
    }
    // Two of six are outliers, and at most 10 % may be ejected.
    let mut pool = TestPool::new(6, failure_percentage());
    (0..4).for_each(|endpoint| pool.calls(endpoint, 100, 0));
    (4..6).for_each(|endpoint| pool.calls(endpoint, 0, 100));
    pool.next().await;
    assert_eq!(done(&pool), ["failure_percentage 1", "failure_percentage max_ejection_overflow 1"]);
}

#[tokio::test(start_paused = true)]
async fn success_rate_within_the_deviation_does_not_eject() {
    // Mean 0.78, deviation 0.147, threshold 0.50: all rates are low, and none is an outlier.
    let mut pool = TestPool::new(5, success_rate());
    for (endpoint, succeeded) in [100, 80, 80, 80, 55].into_iter().enumerate() {
        pool.calls(endpoint, succeeded, 100 - succeeded);
    }
    pool.next().await;
    assert_eq!(pool.ejected(), [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn too_few_calls_or_endpoints_are_not_evaluated() {
    for (endpoints, calls) in [(5, 99), (4, 100)] {
        let mut pool = TestPool::new(endpoints, success_rate());
        (1..endpoints.into()).for_each(|endpoint| pool.calls(endpoint, 100, 0));
        pool.calls(0, 0, calls);
        pool.next().await;
        assert_eq!(pool.ejected(), [0; 0], "{endpoints} endpoints, {calls} calls");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_before_the_interval_do_not_count() {
    let mut pool = TestPool::new(5, failure_percentage());
    (0..5).for_each(|endpoint| pool.calls(endpoint, 1000, 0));
    pool.next().await;
    (0..4).for_each(|endpoint| pool.calls(endpoint, 50, 0));
    pool.calls(4, 5, 45);
    pool.next().await;
    assert_eq!(pool.ejected(), [4], "90 % of 50, although 4 % of all");
}

#[tokio::test(start_paused = true)]
async fn failure_percentage_at_the_threshold_does_not_eject_and_cancelled_calls_do_not_count() {
    let mut pool = TestPool::new(5, failure_percentage());
    (0..4).for_each(|endpoint| pool.calls(endpoint, 15, 85));
    pool.calls(4, 50, 0);
    (0..1000).for_each(|_| pool.ends(4, Code::Cancelled, CallOutcome::Ignored));
    pool.next().await;
    assert_eq!(pool.ejected(), [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn ejections_are_limited_to_the_percentage_or_one_endpoint() {
    for (percent, ejected) in [(0, 0), (1, 1), (10, 1), (50, 5), (100, 10)] {
        let config = OutlierDetection { max_ejection_percent: percent, ..failure_percentage() };
        let mut pool = TestPool::new(10, config);
        (0..10).for_each(|endpoint| pool.calls(endpoint, 0, 100));
        pool.next().await;
        assert_eq!(pool.ejected().len(), ejected, "{percent} %");
    }
}

#[tokio::test(start_paused = true)]
async fn enforcement_of_0_percent_ejects_nothing() {
    let enforced = FailurePercentage { enforcement_percentage: 0, ..FailurePercentage::default() };
    let config = OutlierDetection { failure_percentage: Some(enforced), ..OutlierDetection::off() };
    let mut pool = TestPool::new(5, config);
    (0..5).for_each(|endpoint| pool.calls(endpoint, 0, 100));
    pool.next().await;
    assert_eq!(pool.ejected(), [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn consecutive_failures_eject_at_once_and_each_time_for_longer() {
    let mut pool = TestPool::new(3, OutlierDetection::default());
    let fail = |pool: &TestPool, times| {
        (0..times).for_each(|_| pool.ends(1, Code::Unavailable, CallOutcome::Failure))
    };
    fail(&pool, 4);
    pool.ends(1, Code::NotFound, CallOutcome::Success);
    fail(&pool, 4);
    assert_eq!(pool.run(), [0; 0], "a success in between resets the count");
    fail(&pool, 1);
    assert_eq!(pool.run(), [1]);
    fail(&pool, 100);
    assert_eq!(pool.next().await, Some(30));
    assert_eq!(pool.ejected(), [0; 0], "failures during the ejection do not eject again");

    fail(&pool, 5);
    assert_eq!(pool.run(), [1]);
    assert_eq!(pool.next().await, Some(60));
    assert_eq!(pool.ejected(), [0; 0]);
    // Two intervals without an ejection reset the multiplier.
    assert_eq!((pool.next().await, pool.next().await), (Some(10), Some(10)));
    assert_eq!(pool.next().await, None);
    fail(&pool, 5);
    pool.run();
    assert_eq!(pool.next().await, Some(30));
}

#[tokio::test(start_paused = true)]
async fn ejection_lasts_no_longer_than_the_maximum() {
    for (base, max, times) in [(30, 70, [30, 60, 70, 70]), (30, 10, [30, 30, 30, 30])] {
        let config = OutlierDetection {
            base_ejection_time: Duration::from_secs(base),
            max_ejection_time: Duration::from_secs(max),
            ..OutlierDetection::default()
        };
        let mut pool = TestPool::new(3, config);
        for time in times {
            (0..5).for_each(|_| pool.ends(0, Code::DeadlineExceeded, CallOutcome::Failure));
            assert_eq!(pool.run(), [0]);
            assert_eq!(pool.next().await, Some(time));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn new_connection_ends_the_ejection_but_keeps_the_multiplier() {
    let mut pool = TestPool::new(3, OutlierDetection::default());
    for time in [30, 60] {
        (0..5).for_each(|_| pool.ends(0, Code::Unavailable, CallOutcome::Failure));
        assert_eq!(pool.run(), [0]);
        let until = pool.endpoints[0].2.ejected_until().unwrap();
        assert_eq!((until - tokio::time::Instant::now()).as_secs(), time);
        pool.endpoints[0].1.reset();
        pool.endpoints[0].2.clear();
        assert_eq!(pool.run(), [0; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn times_beyond_the_range_of_the_clock_do_not_panic() {
    let config = OutlierDetection {
        interval: Duration::MAX,
        base_ejection_time: Duration::MAX,
        ..OutlierDetection::default()
    };
    let mut pool = TestPool::new(3, config);
    (0..5).for_each(|_| pool.ends(0, Code::Unavailable, CallOutcome::Failure));
    assert_eq!(pool.run(), [0]);
}
