//! `weighted_round_robin`: turns in proportion to what backends say of their load (gRFC A58).

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    LbPolicy, PickArgs, PickResult, Picker,
    orca::{OrcaWeight, Weight},
    slow_start::SlowStart,
    stride::Stride,
};
use crate::{metrics::WeightMetrics, subchannel::ReadySubchannel};

/// The shortest [`WeightedRoundRobin::weight_update_period`].
const MIN_UPDATE_PERIOD: Duration = Duration::from_millis(100);
/// The highest ratio between a backend's weight and the mean, either way.
const MAX_RATIO_TO_MEAN: f64 = 10.0;

/// `weighted_round_robin` ([gRFC A58]): backends report their load with each call (ORCA, gRFC A51),
/// and get calls in proportion to calls per second by utilization.
///
/// A backend without a weight has the mean of the others. While fewer than two have one, this is
/// `round_robin`; with [`slow_start`](Self::slow_start), that is how to have plain round robin that
/// spares new endpoints.
///
/// [gRFC A58]: https://github.com/grpc/proposal/blob/master/A58-client-side-weighted-round-robin-lb-policy.md
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WeightedRoundRobin {
    /// The time that a backend must have reported before its weight counts. Default: 10 s.
    pub blackout_period: Duration,
    /// The time that after its last report a backend's weight still counts. Default: 180 s.
    pub weight_expiration_period: Duration,
    /// The number of times that weights are computed, at most every 100 ms. Default: 1 s.
    pub weight_update_period: Duration,
    /// The factor by which the share of failed calls adds to the utilization; not negative. Default: 1.
    pub error_utilization_penalty: f64,
    /// How endpoints start. Default: with all of their share. Not in A58; see gRFC A100.
    pub slow_start: Option<SlowStart>,
}

#[derive(Debug)]
pub(super) struct WeightedRoundRobinPolicy {
    config: WeightedRoundRobin,
    turn: Arc<AtomicU64>,
    next: Option<Instant>,
    /// The reports of each connection. Those of an endpoint that is ejected for a while are kept.
    weights: HashMap<SocketAddr, (Weak<ReadySubchannel>, Arc<OrcaWeight>)>,
    metrics: Arc<WeightMetrics>,
}

#[derive(Debug)]
struct WeightedRoundRobinPicker {
    ready: Vec<(Arc<ReadySubchannel>, Arc<OrcaWeight>)>,
    /// `None` when all weights are equal.
    stride: Option<Stride>,
    turn: Arc<AtomicU64>,
}

// === impl WeightedRoundRobin ===

impl Default for WeightedRoundRobin {
    fn default() -> Self {
        Self {
            blackout_period: Duration::from_secs(10),
            weight_expiration_period: Duration::from_secs(180),
            weight_update_period: Duration::from_secs(1),
            error_utilization_penalty: 1.0,
            slow_start: None,
        }
    }
}

impl WeightedRoundRobin {
    /// Sets [`blackout_period`](Self::blackout_period).
    pub fn blackout_period(mut self, period: Duration) -> Self {
        self.blackout_period = period;
        self
    }

    /// Sets [`weight_expiration_period`](Self::weight_expiration_period).
    pub fn weight_expiration_period(mut self, period: Duration) -> Self {
        self.weight_expiration_period = period;
        self
    }

    /// Sets [`weight_update_period`](Self::weight_update_period).
    pub fn weight_update_period(mut self, period: Duration) -> Self {
        self.weight_update_period = period;
        self
    }

    /// Sets [`error_utilization_penalty`](Self::error_utilization_penalty).
    pub fn error_utilization_penalty(mut self, penalty: f64) -> Self {
        self.error_utilization_penalty = penalty;
        self
    }

    /// Sets [`slow_start`](Self::slow_start).
    pub fn slow_start(mut self, slow_start: SlowStart) -> Self {
        self.slow_start = Some(slow_start);
        self
    }
}

// === impl WeightedRoundRobinPolicy ===

impl WeightedRoundRobinPolicy {
    pub(super) fn new(config: WeightedRoundRobin, metrics: Arc<WeightMetrics>) -> Self {
        // Anywhere, so that many clients that start together do not meet at one backend; and far
        // from the counter's end.
        let turn = Arc::new(AtomicU64::new(fastrand::u32(..).into()));
        Self { config, turn, next: None, weights: HashMap::new(), metrics }
    }

    /// Returns the recorder of each connection's reports. A new connection starts without any.
    fn recorders(&mut self, ready: &[Arc<ReadySubchannel>]) -> Vec<Arc<OrcaWeight>> {
        self.weights.retain(|_, (connection, _)| connection.strong_count() > 0);
        let penalty = self.config.error_utilization_penalty;
        let recorder = |ready: &Arc<ReadySubchannel>| {
            let new = || (Arc::downgrade(ready), Arc::new(OrcaWeight::new(penalty)));
            let (connection, weight) = self.weights.entry(ready.address()).or_insert_with(new);
            if !std::ptr::eq(connection.as_ptr(), Arc::as_ptr(ready)) {
                (*connection, *weight) = new();
            }
            weight.clone()
        };
        ready.iter().map(recorder).collect()
    }

    /// Returns the weight of each connection, which is the mean of the others where it has none.
    fn weights(&self, recorders: &[Arc<OrcaWeight>]) -> Vec<f64> {
        let WeightedRoundRobin { blackout_period, weight_expiration_period, .. } = self.config;
        let weights: Vec<_> = recorders
            .iter()
            .map(|recorder| recorder.weight(blackout_period, weight_expiration_period))
            .collect();
        let known = weights.iter().filter_map(Weight::known).count();
        self.metrics.updated(&weights, known < 2);
        if known < 2 {
            return vec![1.0; recorders.len()];
        }
        // Divided before they are added, so that no sum is too large.
        let mean: f64 = weights.iter().filter_map(Weight::known).map(|weight| weight / known as f64).sum();
        let bounded = |weight: &Weight| {
            weight.known().unwrap_or(mean).clamp(mean / MAX_RATIO_TO_MEAN, mean * MAX_RATIO_TO_MEAN)
        };
        weights.iter().map(bounded).collect()
    }
}

impl LbPolicy for WeightedRoundRobinPolicy {
    fn wake(&self) -> Option<Instant> {
        self.next
    }

    fn picker(&mut self, ready: Vec<Arc<ReadySubchannel>>) -> Box<dyn Picker> {
        let recorders = self.recorders(&ready);
        let mut weights = self.weights(&recorders);
        // A single endpoint needs no weights.
        self.next = (ready.len() > 1)
            .then(|| Instant::now() + self.config.weight_update_period.max(MIN_UPDATE_PERIOD));
        if let Some((parts, next)) = self.config.slow_start.and_then(|slow| slow.parts(&ready)) {
            weights.iter_mut().zip(parts).for_each(|(weight, part)| *weight *= part);
            self.next = self.next.map(|at| at.min(next));
        }
        let ready = ready.into_iter().zip(recorders).collect();
        Box::new(WeightedRoundRobinPicker { stride: Stride::new(&weights), turn: self.turn.clone(), ready })
    }
}

// === impl WeightedRoundRobinPicker ===

impl Picker for WeightedRoundRobinPicker {
    fn pick(&self, _: &PickArgs<'_>) -> Option<PickResult> {
        let turn = || match &self.stride {
            Some(stride) => stride.next(&self.turn),
            None => (self.turn.fetch_add(1, Ordering::Relaxed) % self.ready.len() as u64) as usize,
        };
        let open = |(ready, _): &&(Arc<ReadySubchannel>, _)| ready.is_open();
        // Skips connections that were lost a moment ago. If only a light endpoint is left, it may not get a turn
        // in this many.
        let in_turn = self.ready.iter().map(|_| &self.ready[turn()]).find(open);
        let (subchannel, recorder) = in_turn.or_else(|| self.ready.iter().find(open))?;
        Some(PickResult { subchannel: subchannel.clone(), on_done: Some(recorder.clone()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metrics::Metric, policy::testing::TestSubchannels};

    /// Returns whether each count is right within two calls: a turn begins anywhere.
    fn close(counts: &[usize], expected: &[usize]) -> bool {
        counts.len() == expected.len() && counts.iter().zip(expected).all(|(a, b)| a.abs_diff(*b) <= 2)
    }

    #[tokio::test(start_paused = true)]
    async fn calls_follow_the_reports() {
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
        // 200, 100 and the mean of both.
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
    async fn what_each_computation_finds_is_counted() {
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
    async fn a_report_out_of_all_proportion_is_bounded() {
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
    async fn a_new_endpoint_starts_slowly() {
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
            let counts =
                subchannels.distribution(&*policy.picker(subchannels.ready()), expected.iter().sum());
            assert!(close(&counts, &expected), "{counts:?}, not {expected:?}");
            assert_eq!(policy.wake(), Some(Instant::now() + Duration::from_secs(1)));
        }
    }

    #[tokio::test]
    async fn a_lost_connection_is_passed_over() {
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
    async fn reports_of_an_ejected_endpoint_are_kept_and_those_of_an_old_connection_are_not() {
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
}
