//! Histograms of whole numbers that many threads count into.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Histogram;

/// The bounds of latencies: recorded in nanoseconds, reported in seconds (gRFC A66).
pub(super) static LATENCY: Bounds<41> = Bounds::new(
    // In microseconds.
    [
        0,
        10,
        50,
        100,
        300,
        600,
        800,
        1_000,
        2_000,
        3_000,
        4_000,
        5_000,
        6_000,
        8_000,
        10_000,
        13_000,
        16_000,
        20_000,
        25_000,
        30_000,
        40_000,
        50_000,
        65_000,
        80_000,
        100_000,
        130_000,
        160_000,
        200_000,
        250_000,
        300_000,
        400_000,
        500_000,
        650_000,
        800_000,
        1_000_000,
        2_000_000,
        5_000_000,
        10_000_000,
        20_000_000,
        50_000_000,
        100_000_000,
    ],
    1000,
    1e6,
);

/// Sizes, in bytes (gRFC A66).
pub(super) static SIZE: Bounds<14> = Bounds::new(
    [
        0,
        1 << 10,
        2 << 10,
        4 << 10,
        1 << 14,
        1 << 16,
        1 << 18,
        1 << 20,
        1 << 22,
        1 << 24,
        1 << 26,
        1 << 28,
        1 << 30,
        1 << 32,
    ],
    1,
    1.0,
);

/// Retries of a call (gRFC A96).
pub(super) static RETRIES: Bounds<5> = Bounds::new([1, 2, 3, 4, 5], 1, 1.0);

/// Transparent retries of a call (gRFC A96).
pub(super) static TRANSPARENT_RETRIES: Bounds<6> = Bounds::new([1, 2, 3, 4, 5, 10], 1, 1.0);

/// The upper bounds of the buckets of a histogram.
#[derive(Debug)]
pub(super) struct Bounds<const N: usize> {
    /// The bounds, in the unit in which values are recorded.
    recorded: [u64; N],
    /// The bounds, in the unit in which they are reported.
    reported: [f64; N],
    /// The number of recorded units in one reported unit.
    scale: f64,
}

/// Values, counted by bucket.
#[derive(Debug)]
pub(super) struct Distribution<const N: usize> {
    counts: [AtomicU64; N],
    /// The number of values above all bounds.
    above: AtomicU64,
    sum: AtomicU64,
}

// === impl Bounds ===

impl<const N: usize> Bounds<N> {
    /// Creates bounds from `bounds`, which are in a third unit: each of these is `recorded_per` recorded units, and
    /// `per_reported` of them are one reported unit.
    const fn new(bounds: [u64; N], recorded_per: u64, per_reported: f64) -> Self {
        let (mut recorded, mut reported) = ([0; N], [0.0; N]);
        let mut at = 0;
        while at < N {
            recorded[at] = bounds[at] * recorded_per;
            reported[at] = bounds[at] as f64 / per_reported;
            at += 1;
        }
        Self { recorded, reported, scale: recorded_per as f64 * per_reported }
    }
}

// === impl Distribution ===

impl<const N: usize> Default for Distribution<N> {
    fn default() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; N], above: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }
}

impl<const N: usize> Distribution<N> {
    pub(super) fn record(&self, bounds: &'static Bounds<N>, value: u64) {
        let at = bounds.recorded.partition_point(|bound| *bound < value);
        self.counts.get(at).unwrap_or(&self.above).fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    pub(super) fn read(&self, bounds: &'static Bounds<N>) -> Histogram {
        let counts = self.counts.iter().chain([&self.above]).map(|count| count.load(Relaxed)).collect();
        let sum = self.sum.load(Relaxed) as f64 / bounds.scale;
        Histogram { bounds: &bounds.reported, counts, sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_equal_to_a_bound_is_in_the_bucket_below() {
        let sizes = Distribution::default();
        for size in [0, 1, 1024, 1025, 1 << 32, (1 << 32) + 1] {
            sizes.record(&SIZE, size);
        }
        let read = sizes.read(&SIZE);
        assert_eq!(read.counts, [1, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((read.count(), read.sum), (6, (2.0 * 2_f64.powi(32)) + 2051.0));
    }

    #[test]
    fn latencies_are_reported_in_seconds_with_the_bounds_of_a66() {
        let latencies = Distribution::default();
        for nanoseconds in [0, 10_000, 10_001, 1_000_000_000, 100_000_000_001] {
            latencies.record(&LATENCY, nanoseconds);
        }
        let read = latencies.read(&LATENCY);
        assert_eq!(read.bounds[..5], [0.0, 0.00001, 0.00005, 0.0001, 0.0003]);
        assert_eq!(read.bounds[36..], [5.0, 10.0, 20.0, 50.0, 100.0]);
        let full: Vec<usize> = (0..read.counts.len()).filter(|at| read.counts[*at] > 0).collect();
        assert_eq!(full, [0, 1, 2, 34, 41]);
        assert_eq!(read.bounds[34], 1.0);
        assert!((read.sum - 101.000_020_002).abs() < 1e-9, "{}", read.sum);
    }
}
