//! `weighted_round_robin`: calls in proportion to the load that backends report (gRFC A58).

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
/// The maximum ratio between a backend's weight and the mean, in both directions.
const MAX_RATIO_TO_MEAN: f64 = 10.0;

/// `weighted_round_robin` ([gRFC A58]): backends report their load with each call (ORCA, gRFC A51), and
/// get calls in proportion to their calls per second divided by their utilization.
///
/// A backend without a weight gets the mean weight. While fewer than two backends have one, the policy is
/// `round_robin`; with [`slow_start`](Self::slow_start), round robin with a slow start of new endpoints.
///
/// [gRFC A58]: https://github.com/grpc/proposal/blob/master/A58-client-side-weighted-round-robin-lb-policy.md
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WeightedRoundRobin {
    /// The time for which a backend must have sent reports before its weight is used. Default: 10 s.
    pub blackout_period: Duration,
    /// The time after its last report for which a backend's weight is used. Default: 180 s.
    pub weight_expiration_period: Duration,
    /// The time between two computations of the weights, at least 100 ms. Default: 1 s.
    pub weight_update_period: Duration,
    /// The factor by which the share of failed calls adds to the utilization; not negative. Default: 1.
    pub error_utilization_penalty: f64,
    /// Slow start (gRFC A100). Default: none.
    pub slow_start: Option<SlowStart>,
}

#[derive(Debug)]
pub(super) struct WeightedRoundRobinPolicy {
    config: WeightedRoundRobin,
    turn: Arc<AtomicU64>,
    next: Option<Instant>,
    /// The reports of each connection. Those of an ejected endpoint are kept.
    weights: HashMap<SocketAddr, (Weak<ReadySubchannel>, Arc<OrcaWeight>)>,
    metrics: Arc<WeightMetrics>,
}

#[derive(Debug)]
struct WeightedRoundRobinPicker {
    ready: Vec<(Arc<ReadySubchannel>, Arc<OrcaWeight>)>,
    /// The weighted schedule; `None` if all weights are equal.
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
        // A random start, so that clients that start together do not all call the same backend first; 32 bits, so that
        // the counter does not overflow.
        let turn = Arc::new(AtomicU64::new(fastrand::u32(..).into()));
        Self { config, turn, next: None, weights: HashMap::new(), metrics }
    }

    /// Returns the recorder of each connection's reports. A new connection starts without reports.
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

    /// Returns the weight of each connection. A connection without a known weight gets the mean of the others.
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
        // Divides before adding, so that the sum cannot overflow.
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
mod tests;
