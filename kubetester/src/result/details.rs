//! The data of a report's plots: the calls over time, and a histogram of their latencies.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::tally::{Counts, Interval, Latency, Tally};

/// The minimum average number of calls per interval. Below it, percentiles would be random, and intervals are widened.
const MIN_CALLS: u64 = 20;
/// The number of intervals up to which they are not widened, however few calls they have.
const MIN_INTERVALS: usize = 20;

/// The number of histogram bins per factor of ten.
const BINS_PER_DECADE: f64 = 20.0;

/// The calls over time, in intervals of equal width. A call belongs to the interval in which it ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OverTime {
    /// Width of an interval, in seconds. Interval n, counted from 0, starts n widths after the start of the load.
    pub width: f64,
    /// Calls that succeeded, per interval.
    pub succeeded: Vec<u64>,
    /// Calls that failed, per interval.
    pub failed: Vec<u64>,
    /// Median latency of the calls that succeeded, in seconds; null for an interval in which none did.
    pub p50: Vec<Option<f64>>,
    /// 90th percentile of that latency.
    pub p90: Vec<Option<f64>>,
    /// 99th percentile of that latency.
    pub p99: Vec<Option<f64>>,
    /// Pods that answered, sorted by name.
    pub pods: Vec<PodOverTime>,
}

/// The calls of one pod over time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PodOverTime {
    /// Name of the pod in its answers.
    pub name: String,
    /// Calls that the pod answered successfully, per interval.
    pub calls: Vec<u64>,
}

/// A bin of a histogram of latencies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Bin {
    /// Lower bound in seconds, inclusive.
    pub from: f64,
    /// Upper bound in seconds, exclusive: the lower bound times the 20th root of 10.
    pub to: f64,
    /// Number of calls in the bin.
    pub calls: u64,
}

// === impl OverTime ===

impl OverTime {
    /// Computes the calls over time, in intervals as short as the number of calls allows.
    pub fn new(tally: &Tally) -> Self {
        let mut series = tally.series.clone();
        let mut pods: BTreeMap<_, _> =
            tally.pods.iter().map(|(name, pod)| (name, pod.over_time.clone())).collect();
        while series.intervals().len() > MIN_INTERVALS
            && tally.calls() < MIN_CALLS * series.intervals().len() as u64
        {
            series.widen();
            pods.values_mut().for_each(|counts| counts.widen());
        }
        let intervals = series.intervals();
        let latency = |percent| {
            let of = |one: &Interval| {
                (one.latency.count() > 0).then(|| one.latency.percentile(percent).as_secs_f64())
            };
            intervals.iter().map(of).collect()
        };
        let pod = |(name, counts): (&&String, &Counts)| PodOverTime {
            name: (*name).clone(),
            calls: (0..intervals.len()).map(|number| counts.at(number)).collect(),
        };
        Self {
            width: series.width().as_secs_f64(),
            succeeded: intervals.iter().map(|one| one.latency.count()).collect(),
            failed: intervals.iter().map(|one| one.failed).collect(),
            p50: latency(50.0),
            p90: latency(90.0),
            p99: latency(99.0),
            pods: pods.iter().map(pod).collect(),
        }
    }
}

// === impl Bin ===

impl Bin {
    /// Returns the histogram of latencies, from the first bin that has calls to the last one.
    pub fn all(latency: &Latency) -> Vec<Self> {
        let mut calls = BTreeMap::<i32, u64>::new();
        for (latency, count) in latency.recorded() {
            *calls.entry((latency.as_secs_f64().log10() * BINS_PER_DECADE).floor() as i32).or_default() +=
                count;
        }
        let (Some((first, _)), Some((last, _))) = (calls.first_key_value(), calls.last_key_value()) else {
            return Vec::new();
        };
        let bound = |number: i32| 10_f64.powf(f64::from(number) / BINS_PER_DECADE);
        let bin = |number| Self {
            from: bound(number),
            to: bound(number + 1),
            calls: calls.get(&number).copied().unwrap_or_default(),
        };
        (*first..=*last).map(bin).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tally::Sample;

    fn tally(calls: u64, every: Duration) -> Tally {
        let mut tally = Tally::default();
        for number in 0..calls {
            tally.record(Sample {
                at: every * number as u32,
                late: Duration::ZERO,
                latency: Duration::from_millis(1),
                pod: Some(format!("pod-{}", number % 2)),
                error: (number % 4 == 3).then(|| "fourth".to_owned()),
                ..Sample::default()
            });
        }
        tally
    }

    #[test]
    fn intervals_are_as_fine_as_their_calls_allow() {
        for (calls, millis, width, intervals) in
            [(0, 1, 1.0 / 512.0, 0), (1, 1, 1.0 / 512.0, 1), (20, 1000, 1.0, 20), (20_000, 1, 0.125, 160)]
        {
            let seen = OverTime::new(&tally(calls, Duration::from_millis(millis)));
            assert_eq!((seen.width, seen.succeeded.len()), (width, intervals), "{calls}");
            let sum = |counts: &[u64]| counts.iter().sum::<u64>();
            assert_eq!((sum(&seen.succeeded), sum(&seen.failed)), (calls - calls / 4, calls / 4));
            assert_eq!(seen.pods.iter().map(|pod| sum(&pod.calls)).sum::<u64>(), calls - calls / 4);
            for list in [&seen.p50, &seen.p90, &seen.p99] {
                assert_eq!(list.len(), intervals);
            }
        }
    }

    #[test]
    fn interval_without_a_success_has_no_latency() {
        let mut tally = Tally::default();
        for (at, error) in [(0, None), (2, Some("refused".to_owned())), (4, None)] {
            let at = Duration::from_millis(at);
            tally.record(Sample {
                at,
                late: Duration::ZERO,
                latency: at,
                pod: None,
                error,
                ..Sample::default()
            });
        }
        let seen = OverTime::new(&tally);
        assert_eq!((seen.failed, seen.p99[1], seen.p99[2].is_some()), (vec![0, 1, 0], None, true));
    }

    #[test]
    fn bins_hold_all_calls_in_order() {
        let mut latency = Latency::default();
        for micros in [100, 101, 250, 250, 1_000, 0] {
            latency.record(Duration::from_micros(micros));
        }
        let bins = Bin::all(&latency);
        assert_eq!(bins.iter().map(|bin| bin.calls).sum::<u64>(), 6);
        assert!(bins.windows(2).all(|two| two[0].to == two[1].from), "{bins:?}");
        let of = |seconds| bins.iter().find(|bin| bin.from <= seconds && seconds < bin.to).unwrap().calls;
        assert_eq!([of(100.5e-6), of(250e-6), of(1.001e-3), of(500e-6)], [2, 2, 1, 0]);
        assert_eq!(Bin::all(&Latency::default()), []);
    }
}
