//! Histograms of latencies.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The number of significant digits of a latency: 1.23 ms, not 1.234.
const DIGITS: u8 = 3;

/// The number of significant digits of a rough histogram: enough for a plot, with an eighth of the memory.
const ROUGH_DIGITS: u8 = 2;

/// The unit of latencies in the histogram, in nanoseconds: finer than any network, and coarse enough to stay small.
const UNIT_NANOS: u64 = 100;

/// A distribution of latencies.
#[derive(Debug, Clone)]
pub struct Latency(Histogram<u64>);

// === impl Latency ===

impl Default for Latency {
    fn default() -> Self {
        Self::with_digits(DIGITS)
    }
}

impl Latency {
    /// Creates a distribution that is precise to 1 % and uses less memory.
    pub fn rough() -> Self {
        Self::with_digits(ROUGH_DIGITS)
    }

    fn with_digits(digits: u8) -> Self {
        Self(Histogram::new(digits).expect("a histogram supports 0 to 5 digits"))
    }

    /// Records one latency, rounded to the precision of the distribution and to 100 ns.
    pub fn record(&mut self, latency: Duration) {
        let units = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX) / UNIT_NANOS;
        // `record` resizes the histogram. It fails for values beyond its range, which are counted in the last bucket.
        if self.0.record(units).is_err() {
            self.0.saturating_record(units);
        }
    }

    /// Returns the number of latencies that were recorded.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Returns the latency that `percent` % of the calls did not exceed; zero if none was recorded.
    pub fn percentile(&self, percent: f64) -> Duration {
        duration(self.0.value_at_percentile(percent))
    }

    /// Returns each recorded latency, rounded to the precision, with its count; the shortest first.
    pub fn recorded(&self) -> impl Iterator<Item = (Duration, u64)> {
        // Zero becomes one unit, because callers compute the logarithm.
        self.0.iter_recorded().map(|one| (duration(one.value_iterated_to().max(1)), one.count_at_value()))
    }

    /// Returns the longest latency.
    pub fn max(&self) -> Duration {
        duration(self.0.max())
    }

    /// Returns the shortest latency.
    pub fn min(&self) -> Duration {
        duration(self.0.min())
    }

    /// Returns the mean latency.
    pub fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.0.mean() * UNIT_NANOS as f64 / 1e9)
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("a resizable histogram accepts every value of another histogram");
    }
}

fn duration(units: u64) -> Duration {
    Duration::from_nanos(units.saturating_mul(UNIT_NANOS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_from_nanoseconds_to_hours_keeps_three_digits() {
        for nanos in [400, 45_300, 1_234_000, 59_900_000_000, 7_200_000_000_000] {
            let mut latency = Latency::default();
            latency.record(Duration::from_nanos(nanos));
            let seen = latency.percentile(99.0).as_nanos() as f64;
            assert!((seen / nanos as f64 - 1.0).abs() <= 0.001, "{nanos} ns came back as {seen}");
        }
        assert_eq!(Latency::default().percentile(99.0), Duration::ZERO);
    }
}
