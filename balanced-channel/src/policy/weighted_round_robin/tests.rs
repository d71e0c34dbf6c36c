use super::*;
use crate::{metrics::Metric, policy::testing::TestSubchannels};

/// Returns whether each count is as expected within two calls. The schedule starts at a random turn.
fn close(counts: &[usize], expected: &[usize]) -> bool {
    counts.len() == expected.len() && counts.iter().zip(expected).all(|(a, b)| a.abs_diff(*b) <= 2)
}

#[tokio::test(start_paused = true)]
async fn calls_are_proportional_to_reported_weights() {
    let subchannels = TestSubchannels::new(3).await;
    let mut policy = WeightedRoundRobinPolicy::new(WeightedRoundRobin::default(), Arc::default());
    let picker = policy.picker(subchannels.ready());
    assert_eq!(subchannels.distribution(&*picker, 300), [100, 100, 100]);

    subchannels.report(&*picker, 0, 100.0, 0.5);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(
        subchannels.distribution(&*policy.picker(subchannels.ready()), 300),
        [100, 100, 100],
        "one weight is none"
    );

    subchannels.report(&*picker, 1, 100.0, 1.0);
    assert_eq!(
        subchannels.distribution(&*policy.picker(subchannels.ready()), 300),
        [100, 100, 100],
        "the blackout"
    );
    tokio::time::advance(Duration::from_secs(10)).await;
    // The weights are 200, 100 and the mean of both.
    let counts = subchannels.distribution(&*policy.picker(subchannels.ready()), 450);
    assert!(close(&counts, &[200, 100, 150]), "{counts:?}");

    tokio::time::advance(Duration::from_secs(180)).await;
    assert_eq!(
        subchannels.distribution(&*policy.picker(subchannels.ready()), 300),
        [100, 100, 100],
        "expired"
    );
}

#[tokio::test(start_paused = true)]
async fn weights_are_counted_at_each_computation() {
    let (subchannels, metrics) = (TestSubchannels::new(3).await, Arc::<WeightMetrics>::default());
    let mut policy = WeightedRoundRobinPolicy::new(WeightedRoundRobin::default(), metrics.clone());
    let mut compute = || {
        let picker = policy.picker(subchannels.ready());
        let [fallbacks, not_yet, stale, weights] = metrics.read();
        let count = |metric: &Metric| metric.points[0].count().unwrap();
        let weights = weights.points[0].histogram().unwrap().clone();
        (picker, ([count(&fallbacks), count(&not_yet), count(&stale)], weights.count(), weights.sum))
    };
    let (picker, counted) = compute();
    assert_eq!(counted, ([1, 3, 0], 3, 0.0), "no endpoint has reported");
    subchannels.report(&*picker, 0, 100.0, 0.5);
    subchannels.report(&*picker, 1, 100.0, 1.0);
    assert_eq!(compute().1, ([2, 6, 0], 6, 0.0), "the blackout");
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(compute().1, ([2, 7, 0], 9, 300.0), "200 and 100, and one that has not reported");
    tokio::time::advance(Duration::from_secs(180)).await;
    assert_eq!(compute().1, ([3, 8, 2], 12, 300.0), "two have gone stale");
}

#[tokio::test(start_paused = true)]
async fn extreme_weight_is_limited() {
    let subchannels = TestSubchannels::new(30).await;
    let mut policy = WeightedRoundRobinPolicy::new(
        WeightedRoundRobin::default().blackout_period(Duration::ZERO),
        Arc::default(),
    );
    let picker = policy.picker(subchannels.ready());
    (0..29).for_each(|at| subchannels.report(&*picker, at, 1.0, 1.0));
    subchannels.report(&*picker, 29, 1e300, 1e-3);
    let counts = subchannels.distribution(&*policy.picker(subchannels.ready()), 39_900);
    assert!(counts[..29].iter().all(|count| *count > 90), "no endpoint starves: {counts:?}");
    assert!(counts[29] > 1000, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn new_endpoint_starts_slowly() {
    let subchannels = TestSubchannels::new(2).await;
    let slow = SlowStart::new(Duration::from_secs(100));
    let mut policy =
        WeightedRoundRobinPolicy::new(WeightedRoundRobin::default().slow_start(slow), Arc::default());
    assert_eq!(
        subchannels.distribution(&*policy.picker(subchannels.ready()), 200),
        [100, 100],
        "all of them start"
    );
    tokio::time::advance(Duration::from_secs(100)).await;
    let subchannels = subchannels.and(1).await;
    for (age, expected) in [(0, [100, 100, 10]), (50, [100, 100, 50]), (50, [70, 70, 70])] {
        tokio::time::advance(Duration::from_secs(age)).await;
        let counts = subchannels.distribution(&*policy.picker(subchannels.ready()), expected.iter().sum());
        assert!(close(&counts, &expected), "{counts:?}, not {expected:?}");
        assert_eq!(policy.wake(), Some(Instant::now() + Duration::from_secs(1)));
    }
}

#[tokio::test]
async fn lost_connection_is_skipped() {
    let subchannels = TestSubchannels::new(3).await;
    let mut policy = WeightedRoundRobinPolicy::new(
        WeightedRoundRobin::default().blackout_period(Duration::ZERO),
        Arc::default(),
    );
    let unweighted = policy.picker(subchannels.ready());
    (0..3).for_each(|at| subchannels.report(&*unweighted, at, 1.0, [0.01, 0.01, 1.0][at]));
    let picker = policy.picker(subchannels.ready());
    subchannels.lose(0).await;
    subchannels.lose(1).await;
    assert_eq!(subchannels.distribution(&*picker, 100), [0, 0, 100]);
    subchannels.lose(2).await;
    assert_eq!(subchannels.distribution(&*picker, 100), [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn ejected_endpoint_keeps_its_reports_and_reconnected_endpoint_does_not() {
    let subchannels = TestSubchannels::new(2).await;
    let config = WeightedRoundRobin::default().blackout_period(Duration::ZERO);
    let mut policy = WeightedRoundRobinPolicy::new(config, Arc::default());
    let picker = policy.picker(subchannels.ready());
    subchannels.report(&*picker, 0, 100.0, 0.5);
    subchannels.report(&*picker, 1, 100.0, 1.0);
    policy.picker(subchannels.ready()[1..].to_vec());
    let counts = subchannels.distribution(&*policy.picker(subchannels.ready()), 300);
    assert!(close(&counts, &[200, 100]), "{counts:?}");

    drop((picker, subchannels));
    let reconnected = TestSubchannels::new(2).await;
    assert_eq!(reconnected.distribution(&*policy.picker(reconnected.ready()), 300), [150, 150]);
}
