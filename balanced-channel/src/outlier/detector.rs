//! Decides which endpoints are ejected and when they are reinstated. The balancer's task runs the detector.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{ConsecutiveFailures, FailurePercentage, OutlierDetection, SuccessRate};
use crate::{
    metrics::{DetectionMethod, EjectionMetrics, Unenforced},
    subchannel::CallCounters,
};

/// Evaluates all endpoints at every interval, and when a call reports consecutive failures.
#[derive(Debug)]
pub(crate) struct Detector {
    config: OutlierDetection,
    interval_end: Instant,
    ejections: Arc<EjectionMetrics>,
}

/// The rule that detected an outlier.
struct Outlier<'a> {
    method: DetectionMethod,
    /// The chance that it is ejected, in percent.
    chance: u32,
    why: fmt::Arguments<'a>,
}

/// The ejection state of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct EjectionState {
    /// The end of the ejection, if the endpoint is ejected.
    ejected: Option<Instant>,
    /// The ejection time multiplier of A50: the next ejection lasts one more than this many base ejection times.
    multiplier: u32,
    /// The counters at the last sweep.
    at_interval_start: CallVolume,
    /// The calls that ended since the last sweep.
    in_interval: CallVolume,
}

/// The number of ended calls, without those that are no evidence about the endpoint.
#[derive(Clone, Copy, Debug, Default)]
struct CallVolume {
    succeeded: u64,
    failed: u64,
}

/// One endpoint, as the balancer passes it to the detector.
pub(crate) struct DetectorEndpoint<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) calls: &'a CallCounters,
    pub(crate) consecutive_failures: &'a ConsecutiveFailures,
    pub(crate) ejection: &'a mut EjectionState,
    /// True if the endpoint is READY. Other endpoints need no ejection.
    pub(crate) ready: bool,
}

// === impl Detector ===

impl Detector {
    pub(crate) fn new(config: OutlierDetection, ejections: Arc<EjectionMetrics>) -> Self {
        Self { config, interval_end: later(Instant::now(), config.interval), ejections }
    }

    /// Returns the time of the next evaluation.
    pub(crate) fn wake<'a>(&self, ejections: impl Iterator<Item = &'a EjectionState>) -> Option<Instant> {
        let mut wake = self.compares().then_some(self.interval_end);
        for ejection in ejections {
            let due = match ejection.ejected {
                Some(until) => until,
                None if ejection.multiplier > 0 => self.interval_end,
                None => continue,
            };
            wake = Some(wake.map_or(due, |wake| wake.min(due)));
        }
        wake
    }

    /// Ejects and reinstates endpoints as due. Returns whether the set of ejected endpoints has changed.
    pub(crate) fn run(&mut self, endpoints: &mut [DetectorEndpoint<'_>]) -> bool {
        let now = Instant::now();
        let mut changed = false;
        if now >= self.interval_end {
            // Counts from now instead of the due time, so that a late sweep is not followed by another at once.
            self.interval_end = later(now, self.config.interval);
            changed |= self.end_interval(endpoints, now);
        }
        for endpoint in endpoints.iter_mut() {
            changed |= endpoint.readmit_if_due(now);
        }
        for at in 0..endpoints.len() {
            if endpoints[at].ready && endpoints[at].consecutive_failures.limit_reached() {
                let why = format_args!("{} calls in a row failed", self.config.consecutive_failures);
                let method = DetectionMethod::ConsecutiveFailures;
                changed |= self.eject(endpoints, at, now, &Outlier { method, chance: 100, why });
            }
        }
        changed
    }

    fn compares(&self) -> bool {
        self.config.success_rate.is_some() || self.config.failure_percentage.is_some()
    }

    fn end_interval(&self, endpoints: &mut [DetectorEndpoint<'_>], now: Instant) -> bool {
        let mut changed = false;
        for endpoint in endpoints.iter_mut() {
            endpoint.count();
        }
        if let Some(config) = self.config.success_rate {
            changed |= self.compare_success_rates(config, endpoints, now);
        }
        if let Some(config) = self.config.failure_percentage {
            changed |= self.compare_failures(config, endpoints, now);
        }
        for endpoint in endpoints.iter_mut().filter(|endpoint| endpoint.ejection.ejected.is_none()) {
            endpoint.ejection.multiplier = endpoint.ejection.multiplier.saturating_sub(1);
        }
        changed
    }

    fn compare_success_rates(
        &self,
        config: SuccessRate,
        endpoints: &mut [DetectorEndpoint<'_>],
        now: Instant,
    ) -> bool {
        let with_enough_calls = with_enough_calls(endpoints, config.request_volume);
        if with_enough_calls.len() < config.minimum_hosts as usize || with_enough_calls.is_empty() {
            return false;
        }
        let rates: Vec<f64> =
            with_enough_calls.iter().map(|at| endpoints[*at].ejection.in_interval.success_rate()).collect();
        let mean = rates.iter().sum::<f64>() / rates.len() as f64;
        let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / rates.len() as f64;
        let least = mean - variance.sqrt() * f64::from(config.stdev_factor) / 1000.0;
        let mut changed = false;
        for (at, rate) in with_enough_calls.into_iter().zip(rates) {
            if rate < least {
                let why = format_args!("success rate {rate:.2}, where {mean:.2} is the mean");
                let (method, chance) = (DetectionMethod::SuccessRate, config.enforcement_percentage);
                changed |= self.eject(endpoints, at, now, &Outlier { method, chance, why });
            }
        }
        changed
    }

    fn compare_failures(
        &self,
        config: FailurePercentage,
        endpoints: &mut [DetectorEndpoint<'_>],
        now: Instant,
    ) -> bool {
        let with_enough_calls = with_enough_calls(endpoints, config.request_volume);
        if with_enough_calls.len() < config.minimum_hosts as usize {
            return false;
        }
        let mut changed = false;
        for at in with_enough_calls {
            let percent = 100.0 * (1.0 - endpoints[at].ejection.in_interval.success_rate());
            if percent > f64::from(config.threshold) {
                let why = format_args!("{percent:.0} % of its calls failed");
                let (method, chance) = (DetectionMethod::FailurePercentage, config.enforcement_percentage);
                changed |= self.eject(endpoints, at, now, &Outlier { method, chance, why });
            }
        }
        changed
    }

    /// Ejects an outlier, unless it is ejected already, the maximum percentage is reached, or chance spares it.
    fn eject(
        &self,
        endpoints: &mut [DetectorEndpoint<'_>],
        at: usize,
        now: Instant,
        outlier: &Outlier<'_>,
    ) -> bool {
        let out = endpoints.iter().filter(|endpoint| endpoint.ejection.ejected.is_some()).count() as u64;
        let full = out * 100 >= u64::from(self.config.max_ejection_percent) * endpoints.len() as u64;
        let endpoint = &mut endpoints[at];
        if endpoint.ejection.ejected.is_some() {
            return false;
        }
        if full {
            self.ejections.unenforced(outlier.method, Unenforced::MaxEjectionOverflow);
            return false;
        }
        if fastrand::u32(0..100) >= outlier.chance {
            self.ejections.unenforced(outlier.method, Unenforced::EnforcementPercentage);
            return false;
        }
        self.ejections.enforced(outlier.method);
        endpoint.ejection.multiplier = endpoint.ejection.multiplier.saturating_add(1);
        let time = self.ejection_time(endpoint.ejection.multiplier);
        endpoint.ejection.ejected = Some(later(now, time));
        tracing::info!(address = %endpoint.address, why = %outlier.why, ?time, "endpoint ejected");
        true
    }

    fn ejection_time(&self, multiplier: u32) -> Duration {
        let base = self.config.base_ejection_time;
        base.saturating_mul(multiplier).min(base.max(self.config.max_ejection_time))
    }
}

/// Returns `now + time`, within the range of the clock.
fn later(now: Instant, time: Duration) -> Instant {
    const MIN: Duration = Duration::from_millis(1);
    const MAX: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    now + time.clamp(MIN, MAX)
}

/// Returns the indexes of endpoints with enough calls for an evaluation.
fn with_enough_calls(endpoints: &[DetectorEndpoint<'_>], volume: u32) -> Vec<usize> {
    let enough = |at: &usize| endpoints[*at].ejection.in_interval.total() >= u64::from(volume.max(1));
    (0..endpoints.len()).filter(enough).collect()
}

// === impl EjectionState ===

impl EjectionState {
    /// Returns the end of the current ejection.
    pub(crate) fn ejected_until(&self) -> Option<Instant> {
        self.ejected
    }

    /// Ends the ejection and resets the failures, because the endpoint has a new connection or its silent peer responds
    /// again: earlier failures are no evidence about it. The multiplier stays, so that the next ejection lasts longer.
    pub(crate) fn clear(&mut self) {
        self.ejected = None;
    }
}

// === impl CallVolume ===

impl CallVolume {
    fn of(calls: &CallCounters) -> Self {
        let excluded = calls.excluded.load(Ordering::Acquire);
        Self {
            succeeded: calls.succeeded.load(Ordering::Acquire),
            failed: calls.failed.load(Ordering::Acquire).saturating_sub(excluded),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            succeeded: self.succeeded - before.succeeded,
            failed: self.failed.saturating_sub(before.failed),
        }
    }

    fn total(self) -> u64 {
        self.succeeded + self.failed
    }

    fn success_rate(self) -> f64 {
        self.succeeded as f64 / self.total() as f64
    }
}

// === impl DetectorEndpoint ===

impl DetectorEndpoint<'_> {
    /// Reinstates the endpoint when its ejection is over.
    fn readmit_if_due(&mut self, now: Instant) -> bool {
        let over = self.ejection.ejected.is_some_and(|until| until <= now);
        if over {
            self.ejection.ejected = None;
            // Calls that were in flight at the ejection may have failed since.
            self.consecutive_failures.reset();
            tracing::info!(address = %self.address, "endpoint reinstated");
        }
        over
    }

    fn count(&mut self) {
        let now = CallVolume::of(self.calls);
        self.ejection.in_interval = now.since(self.ejection.at_interval_start);
        self.ejection.at_interval_start = now;
    }
}
