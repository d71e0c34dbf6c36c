//! A distribution of latencies.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Three digits of a latency are kept: 1.23 ms, not 1.234.
const DIGITS: u8 = 3;

/// Precision of a distribution of which there are many: enough for a plot, an eighth of the memory.
const ROUGH_DIGITS: u8 = 2;

/// The unit that latencies are counted in; finer than any network, coarse enough to stay small.
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
    /// One that keeps a latency to within 1 %, in less memory.
    pub fn rough() -> Self {
        Self::with_digits(ROUGH_DIGITS)
    }

    fn with_digits(digits: u8) -> Self {
        Self(Histogram::new(digits).expect("the histogram can keep 0 to 5 digits"))
    }

    /// Counts one latency, to within its precision and 100 ns.
    pub fn record(&mut self, latency: Duration) {
        let units = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX) / UNIT_NANOS;
        // `record` lets the histogram grow. It fails past what 64 bits hold, and then the top counts it.
        if self.0.record(units).is_err() {
            self.0.saturating_record(units);
        }
    }

    /// Returns the number of were that counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that `percent` % of the calls did not exceed; zero when none was counted.
    pub fn percentile(&self, percent: f64) -> Duration {
        duration(self.0.value_at_percentile(percent))
    }

    /// Each latency that was counted, to within the precision, and how often; the shortest first.
    pub fn recorded(&self) -> impl Iterator<Item = (Duration, u64)> {
        // What took no time at all is counted with what took a unit: a logarithm is taken of it.
        self.0.iter_recorded().map(|one| (duration(one.value_iterated_to().max(1)), one.count_at_value()))
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        duration(self.0.max())
    }

    /// The shortest.
    pub fn min(&self) -> Duration {
        duration(self.0.min())
    }

    /// The mean.
    pub fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.0.mean() * UNIT_NANOS as f64 / 1e9)
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("a histogram that grows takes any other");
    }
}

fn duration(units: u64) -> Duration {
    Duration::from_nanos(units.saturating_mul(UNIT_NANOS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_three_digits_from_nanoseconds_to_hours() {
        for nanos in [400, 45_300, 1_234_000, 59_900_000_000, 7_200_000_000_000] {
            let mut latency = Latency::default();
            latency.record(Duration::from_nanos(nanos));
            let seen = latency.percentile(99.0).as_nanos() as f64;
            assert!((seen / nanos as f64 - 1.0).abs() <= 0.001, "{nanos} ns came back as {seen}");
        }
        assert_eq!(Latency::default().percentile(99.0), Duration::ZERO);
    }
}
