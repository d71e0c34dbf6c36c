//! Decides who is ejected and when they come back. The balancer asks; nothing here waits.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{FailurePercentage, OutlierDetection, Streak, SuccessRate};
use crate::{
    metrics::{DetectionMethod, Ejections, Unenforced},
    subchannel::Calls,
};

/// Looks at the whole pool, when a call asks for it and at every interval.
#[derive(Debug)]
pub(crate) struct Detector {
    config: OutlierDetection,
    sweep: Instant,
    ejections: Arc<Ejections>,
}

/// How an outlier was found.
struct Found<'a> {
    by: DetectionMethod,
    /// The chance that it is ejected, in percent.
    chance: u32,
    why: fmt::Arguments<'a>,
}

/// What is remembered of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Until when it is ejected, if it is.
    ejected: Option<Instant>,
    /// How many base times its next ejection lasts, less one (A50's ejection time multiplier).
    multiplier: u32,
    /// The counters as the last sweep found them.
    seen: Volume,
    /// What has ended since, as this sweep finds it.
    fresh: Volume,
}

/// Calls that ended, without those that the caller cancelled.
#[derive(Clone, Copy, Debug, Default)]
struct Volume {
    succeeded: u64,
    failed: u64,
}

/// One endpoint of the pool.
pub(crate) struct Host<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) calls: &'a Calls,
    pub(crate) streak: &'a Streak,
    pub(crate) record: &'a mut Record,
    /// Whether calls can go to it; what is not connected needs no ejection.
    pub(crate) ready: bool,
}

// === impl Detector ===

impl Detector {
    pub(crate) fn new(config: OutlierDetection, ejections: Arc<Ejections>) -> Self {
        Self { config, sweep: later(Instant::now(), config.interval), ejections }
    }

    /// When to look again, if nothing happens before.
    pub(crate) fn wake<'a>(&self, records: impl Iterator<Item = &'a Record>) -> Option<Instant> {
        let mut wake = self.compares().then_some(self.sweep);
        for record in records {
            let due = match record.ejected {
                Some(until) => until,
                None if record.multiplier > 0 => self.sweep,
                None => continue,
            };
            wake = Some(wake.map_or(due, |wake| wake.min(due)));
        }
        wake
    }

    /// Does what is due now; says whether who is ejected has changed.
    pub(crate) fn look(&mut self, hosts: &mut [Host<'_>]) -> bool {
        let now = Instant::now();
        let mut changed = false;
        if now >= self.sweep {
            // From now, not from when it was due: a sweep that nobody needed was not made.
            self.sweep = later(now, self.config.interval);
            changed |= self.sweep(hosts, now);
        }
        for host in hosts.iter_mut() {
            changed |= host.uneject(now);
        }
        for at in 0..hosts.len() {
            if hosts[at].ready && hosts[at].streak.is_over() {
                let why = format_args!("{} calls in a row failed", self.config.consecutive_failures);
                let by = DetectionMethod::ConsecutiveFailures;
                changed |= self.eject(hosts, at, now, &Found { by, chance: 100, why });
            }
        }
        changed
    }

    fn compares(&self) -> bool {
        self.config.success_rate.is_some() || self.config.failure_percentage.is_some()
    }

    fn sweep(&self, hosts: &mut [Host<'_>], now: Instant) -> bool {
        let mut changed = false;
        for host in hosts.iter_mut() {
            host.count();
        }
        if let Some(config) = self.config.success_rate {
            changed |= self.compare_success_rates(config, hosts, now);
        }
        if let Some(config) = self.config.failure_percentage {
            changed |= self.compare_failures(config, hosts, now);
        }
        for host in hosts.iter_mut().filter(|host| host.record.ejected.is_none()) {
            host.record.multiplier = host.record.multiplier.saturating_sub(1);
        }
        changed
    }

    fn compare_success_rates(&self, config: SuccessRate, hosts: &mut [Host<'_>], now: Instant) -> bool {
        let busy = busy(hosts, config.request_volume);
        if busy.len() < config.minimum_hosts as usize || busy.is_empty() {
            return false;
        }
        let rates: Vec<f64> = busy.iter().map(|at| hosts[*at].record.fresh.success_rate()).collect();
        let mean = rates.iter().sum::<f64>() / rates.len() as f64;
        let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / rates.len() as f64;
        let least = mean - variance.sqrt() * f64::from(config.stdev_factor) / 1000.0;
        let mut changed = false;
        for (at, rate) in busy.into_iter().zip(rates) {
            if rate < least {
                let why = format_args!("success rate {rate:.2}, where {mean:.2} is the mean");
                let (by, chance) = (DetectionMethod::SuccessRate, config.enforcement_percentage);
                changed |= self.eject(hosts, at, now, &Found { by, chance, why });
            }
        }
        changed
    }

    fn compare_failures(&self, config: FailurePercentage, hosts: &mut [Host<'_>], now: Instant) -> bool {
        let busy = busy(hosts, config.request_volume);
        if busy.len() < config.minimum_hosts as usize {
            return false;
        }
        let mut changed = false;
        for at in busy {
            let percent = 100.0 * (1.0 - hosts[at].record.fresh.success_rate());
            if percent > f64::from(config.threshold) {
                let why = format_args!("{percent:.0} % of its calls failed");
                let (by, chance) = (DetectionMethod::FailurePercentage, config.enforcement_percentage);
                changed |= self.eject(hosts, at, now, &Found { by, chance, why });
            }
        }
        changed
    }

    /// Ejects one, if it is not ejected yet, enough others are not, and chance wants it.
    fn eject(&self, hosts: &mut [Host<'_>], at: usize, now: Instant, found: &Found<'_>) -> bool {
        let out = hosts.iter().filter(|host| host.record.ejected.is_some()).count() as u64;
        let full = out * 100 >= u64::from(self.config.max_ejection_percent) * hosts.len() as u64;
        let host = &mut hosts[at];
        if host.record.ejected.is_some() {
            return false;
        }
        if full {
            self.ejections.unenforced(found.by, Unenforced::MaxEjectionOverflow);
            return false;
        }
        if fastrand::u32(0..100) >= found.chance {
            self.ejections.unenforced(found.by, Unenforced::EnforcementPercentage);
            return false;
        }
        self.ejections.enforced(found.by);
        host.record.multiplier = host.record.multiplier.saturating_add(1);
        let time = self.ejection_time(host.record.multiplier);
        host.record.ejected = Some(later(now, time));
        tracing::info!(address = %host.address, why = %found.why, ?time, "endpoint is ejected");
        true
    }

    fn ejection_time(&self, multiplier: u32) -> Duration {
        let base = self.config.base_ejection_time;
        base.saturating_mul(multiplier).min(base.max(self.config.max_ejection_time))
    }
}

/// `time` from `now`, and never so late that the clock cannot say it.
fn later(now: Instant, time: Duration) -> Instant {
    const AT_LEAST: Duration = Duration::from_millis(1);
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    now + time.clamp(AT_LEAST, FAR)
}

/// The hosts that have had enough calls to be judged.
fn busy(hosts: &[Host<'_>], volume: u32) -> Vec<usize> {
    let enough = |at: &usize| hosts[*at].record.fresh.total() >= u64::from(volume.max(1));
    (0..hosts.len()).filter(enough).collect()
}

// === impl Record ===

impl Record {
    /// When the ejection under way ends.
    pub(crate) fn ejected_until(&self) -> Option<Instant> {
        self.ejected
    }

    /// A new connection has been made, or one is heard again that had not even answered pings: whoever
    /// is behind it is not judged by what was before. The multiplier stays, so that one who fails again
    /// is out for longer.
    pub(crate) fn revived(&mut self) {
        self.ejected = None;
    }
}

// === impl Volume ===

impl Volume {
    fn of(calls: &Calls) -> Self {
        let cancelled = calls.cancelled.load(Ordering::Acquire);
        Self {
            succeeded: calls.succeeded.load(Ordering::Acquire),
            failed: calls.failed.load(Ordering::Acquire).saturating_sub(cancelled),
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

// === impl Host ===

impl Host<'_> {
    /// Lets it back in when its time is over.
    fn uneject(&mut self, now: Instant) -> bool {
        let over = self.record.ejected.is_some_and(|until| until <= now);
        if over {
            self.record.ejected = None;
            // Calls that were under way when it was ejected have failed since.
            self.streak.reset();
            tracing::info!(address = %self.address, "endpoint is let back in");
        }
        over
    }

    fn count(&mut self) {
        let now = Volume::of(self.calls);
        self.record.fresh = now.since(self.record.seen);
        self.record.seen = now;
    }
}
