//! Counts calls over time in intervals of equal width. The number of intervals is bounded: their width doubles when a
//! run outgrows them.

use std::time::Duration;

use super::Latency;

/// The maximum number of intervals. A series that exceeds it is folded into half as many.
const MAX_INTERVALS: usize = 300;

/// The initial width, 1/512 s. Doubled nine times, it is a second.
const FIRST_WIDTH: Duration = Duration::from_nanos(1_953_125);

/// Calls by the time when they ended.
#[derive(Debug, Clone)]
pub struct Series {
    width: Duration,
    intervals: Vec<Interval>,
}

/// The calls that ended in one interval.
#[derive(Debug, Clone)]
pub struct Interval {
    /// The number of calls that failed.
    pub failed: u64,
    /// The latency of the calls that succeeded.
    pub latency: Latency,
}

/// One count for each interval of a [`Series`]. Trailing zeros may be missing.
#[derive(Debug, Clone, Default)]
pub struct Counts(Vec<u64>);

// === impl Series ===

impl Series {
    /// Returns the width of an interval, the initial width times a power of two.
    pub fn width(&self) -> Duration {
        self.width
    }

    /// Returns the intervals from the start of the load to the last interval in which a call ended.
    pub fn intervals(&self) -> &[Interval] {
        &self.intervals
    }

    /// Returns whether a call that ended at `at` fits in without widening the intervals.
    pub(super) fn covers(&self, at: Duration) -> bool {
        self.number(at) < MAX_INTERVALS
    }

    /// Counts a call that the series [covers](Series::covers), with its latency if it succeeded. Returns the interval's index.
    pub(super) fn record(&mut self, at: Duration, succeeded: Option<Duration>) -> usize {
        let number = self.number(at);
        if self.intervals.len() <= number {
            self.intervals.resize_with(number + 1, Interval::default);
        }
        let interval = &mut self.intervals[number];
        match succeeded {
            Some(latency) => interval.latency.record(latency),
            None => interval.failed += 1,
        }
        number
    }

    /// Adds another series of the same width.
    pub(super) fn merge(&mut self, other: &Self) {
        debug_assert_eq!(self.width, other.width);
        if self.intervals.len() < other.intervals.len() {
            self.intervals.resize_with(other.intervals.len(), Interval::default);
        }
        for (mine, theirs) in self.intervals.iter_mut().zip(&other.intervals) {
            mine.merge(theirs);
        }
    }

    /// Merges each pair of intervals into one.
    pub fn widen(&mut self) {
        self.width *= 2;
        fold(&mut self.intervals, Interval::merge);
    }

    fn number(&self, at: Duration) -> usize {
        usize::try_from(at.as_nanos() / self.width.as_nanos()).unwrap_or(usize::MAX)
    }
}

impl Default for Series {
    fn default() -> Self {
        Self { width: FIRST_WIDTH, intervals: Vec::new() }
    }
}

// === impl Interval ===

impl Interval {
    fn merge(&mut self, other: &Self) {
        self.failed += other.failed;
        self.latency.merge(&other.latency);
    }
}

impl Default for Interval {
    fn default() -> Self {
        Self { failed: 0, latency: Latency::rough() }
    }
}

// === impl Counts ===

impl Counts {
    /// Returns the count of one interval.
    pub fn at(&self, interval: usize) -> u64 {
        self.0.get(interval).copied().unwrap_or_default()
    }

    /// Merges each pair of intervals into one.
    pub fn widen(&mut self) {
        fold(&mut self.0, |mine, other| *mine += other);
    }

    pub(super) fn add(&mut self, interval: usize) {
        if self.0.len() <= interval {
            self.0.resize(interval + 1, 0);
        }
        self.0[interval] += 1;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }
}

/// Merges the second item of each pair into the first and removes it.
fn fold<T>(items: &mut Vec<T>, merge: impl Fn(&mut T, &T)) {
    for pair in items.chunks_mut(2) {
        if let [first, second] = pair {
            merge(first, second);
        }
    }
    let mut number = 0;
    items.retain(|_| {
        number += 1;
        number % 2 == 1
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::{Sample, Tally};

    fn called(tally: &mut Tally, at: f64, pod: &str, error: Option<&str>) {
        tally.record(Sample {
            at: Duration::from_secs_f64(at),
            late: Duration::ZERO,
            latency: Duration::from_secs_f64(at + 0.001),
            pod: Some(pod.to_owned()),
            error: error.map(str::to_owned),
            ..Sample::default()
        });
    }

    #[test]
    fn long_run_has_wider_intervals_with_every_call_in_the_right_one() {
        let mut tally = Tally::default();
        // A call every 0.1 s: those before 300 s go to pod a, later ones to pod b; every tenth fails.
        for number in 0..6000 {
            let error = (number % 10 == 9).then_some("tenth");
            called(&mut tally, f64::from(number) / 10.0, if number < 3000 { "a" } else { "b" }, error);
        }
        let series = &tally.series;
        assert_eq!((series.width(), series.intervals().len()), (Duration::from_secs(2), 300));
        for (number, interval) in series.intervals().iter().enumerate() {
            let pods = ["a", "b"].map(|pod| tally.pods[pod].over_time.at(number));
            assert_eq!(pods, if number < 150 { [18, 0] } else { [0, 18] }, "{number}");
            assert_eq!((interval.latency.count(), interval.failed), (18, 2), "{number}");
            let slowest = interval.latency.max().as_secs_f64();
            assert!((slowest / (number as f64 * 2.0 + 1.801) - 1.0).abs() < 0.01, "{number}: {slowest}");
        }
    }

    #[test]
    fn series_of_different_widths_are_merged() {
        for swapped in [false, true] {
            let (mut early, mut late) = (Tally::default(), Tally::default());
            called(&mut early, 0.1, "a", None);
            called(&mut late, 1.0, "a", None);
            called(&mut late, 70.0, "a", None);
            let (mut merged, other) = if swapped { (late, early) } else { (early, late) };
            merged.merge(other);
            assert_eq!(merged.series.width(), Duration::from_millis(250));
            let calls = |number| merged.pods["a"].over_time.at(number);
            assert_eq!([calls(0), calls(4), calls(280), calls(281)], [1, 1, 1, 0]);
            let counts: u64 = merged.series.intervals().iter().map(|one| one.latency.count()).sum();
            assert_eq!((counts, merged.series.intervals().len()), (3, 281));
        }
    }

    #[test]
    fn run_of_years_has_a_bounded_number_of_intervals() {
        let mut tally = Tally::default();
        called(&mut tally, 3e9, "a", None);
        called(&mut tally, 1.0, "a", None);
        assert!(tally.series.intervals().len() <= MAX_INTERVALS);
        assert_eq!(tally.pods["a"].over_time.at(0), 1);
    }
}
