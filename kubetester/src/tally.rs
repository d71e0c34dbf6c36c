//! Counts calls: by pod, by error, by latency. Each crew has a tally of its own; they are merged at the end,
//! so that counting takes no lock.

use std::{collections::HashMap, time::Duration};

use hdrhistogram::Histogram;

/// Three digits of a latency are kept: 1.23 ms, not 1.234.
const DIGITS: u8 = 3;

/// The unit that latencies are counted in; finer than any network, coarse enough to stay small.
const UNIT_NANOS: u64 = 100;

/// More kinds of error than this are counted together: a cause that holds a unique id must not eat memory.
const MOST_CAUSES: usize = 64;

/// What a [`Tally`] calls the causes beyond the first [`MOST_CAUSES`].
const OTHER_CAUSES: &str = "other errors";

/// What became of a number of calls.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// By the name of the pod that answered. Answers that name none are not here.
    pub pods: HashMap<String, PodTally>,
    /// Failed calls by cause, a short sentence.
    pub errors: HashMap<String, u64>,
    /// Calls that succeeded.
    pub succeeded: u64,
    /// Successful answers that did not name their pod.
    pub unnamed: u64,
    /// Of the calls that succeeded, from when each was due.
    pub latency: Latency,
    /// How much later than due the latest call began, and how many began over 1 ms late.
    pub lateness: Lateness,
}

/// What became of the calls that one pod answered.
#[derive(Debug, Clone, Default)]
pub struct PodTally {
    /// Calls it answered with success.
    pub calls: u64,
    /// Calls it answered with an error.
    pub errors: u64,
    /// Of the calls that succeeded.
    pub latency: Latency,
    /// When it answered first, counted from the start of the load.
    pub first_at: Duration,
    /// When it answered last.
    pub last_at: Duration,
}

/// A distribution of latencies.
#[derive(Debug, Clone)]
pub struct Latency(Histogram<u64>);

/// How well the schedule of an open loop was kept by this program itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lateness {
    /// Calls that began more than a millisecond after they were due.
    pub late: u64,
    /// The worst.
    pub most: Duration,
}

/// One call that ended.
#[derive(Debug)]
pub struct Sample {
    /// When it ended, counted from the start of the load.
    pub at: Duration,
    /// How long after it was due it began.
    pub late: Duration,
    /// From when it was due until it ended.
    pub latency: Duration,
    /// The pod that answered, where the answer says so.
    pub pod: Option<String>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

// === impl Tally ===

impl Tally {
    /// Counts one call.
    pub fn record(&mut self, sample: Sample) {
        self.lateness.record(sample.late);
        let failed = sample.error.is_some();
        match sample.error {
            Some(cause) => self.count_error(cause, 1),
            None => {
                self.succeeded += 1;
                self.unnamed += u64::from(sample.pod.is_none());
                self.latency.record(sample.latency);
            }
        }
        let Some(name) = sample.pod else { return };
        let pod = match self.pods.get_mut(&name) {
            Some(pod) => pod,
            None => self.pods.entry(name).or_insert(PodTally { first_at: sample.at, ..PodTally::default() }),
        };
        pod.last_at = sample.at;
        if failed {
            pod.errors += 1;
        } else {
            pod.calls += 1;
            pod.latency.record(sample.latency);
        }
    }

    /// Adds what another crew counted.
    pub fn merge(&mut self, other: Self) {
        for (name, pod) in other.pods {
            match self.pods.get_mut(&name) {
                Some(mine) => mine.merge(&pod),
                None => drop(self.pods.insert(name, pod)),
            }
        }
        for (cause, count) in other.errors {
            self.count_error(cause, count);
        }
        self.succeeded += other.succeeded;
        self.unnamed += other.unnamed;
        self.latency.merge(&other.latency);
        self.lateness.late += other.lateness.late;
        self.lateness.most = self.lateness.most.max(other.lateness.most);
    }

    /// Moves all of it to later in time.
    pub fn delay(&mut self, by: Duration) {
        for pod in self.pods.values_mut() {
            pod.first_at += by;
            pod.last_at += by;
        }
    }

    /// Calls that ended, well or not.
    pub fn calls(&self) -> u64 {
        self.succeeded + self.failed()
    }

    /// Calls that failed.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    fn count_error(&mut self, cause: String, count: u64) {
        let known = self.errors.contains_key(&cause) || self.errors.len() < MOST_CAUSES;
        let cause = if known { cause } else { OTHER_CAUSES.to_owned() };
        *self.errors.entry(cause).or_default() += count;
    }
}

// === impl PodTally ===

impl PodTally {
    fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        self.errors += other.errors;
        self.latency.merge(&other.latency);
        self.first_at = self.first_at.min(other.first_at);
        self.last_at = self.last_at.max(other.last_at);
    }
}

// === impl Latency ===

impl Default for Latency {
    fn default() -> Self {
        let histogram = Histogram::new(DIGITS).expect("3 digits are within what the histogram can keep");
        Self(histogram)
    }
}

impl Latency {
    /// Counts one latency; to within 0.1 %, and 100 ns.
    pub fn record(&mut self, latency: Duration) {
        let units = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX) / UNIT_NANOS;
        // `record` lets the histogram grow. It fails past what 64 bits hold, and then the top counts it.
        if self.0.record(units).is_err() {
            self.0.saturating_record(units);
        }
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that `percent` % of the calls did not exceed; zero when none was counted.
    pub fn percentile(&self, percent: f64) -> Duration {
        duration(self.0.value_at_percentile(percent))
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

    fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("a histogram that grows takes any other");
    }
}

fn duration(units: u64) -> Duration {
    Duration::from_nanos(units.saturating_mul(UNIT_NANOS))
}

// === impl Lateness ===

impl Lateness {
    fn record(&mut self, late: Duration) {
        self.late += u64::from(late > Duration::from_millis(1));
        self.most = self.most.max(late);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: u64, latency: u64, pod: &str, error: Option<&str>) -> Sample {
        Sample {
            at: Duration::from_millis(at),
            late: Duration::ZERO,
            latency: Duration::from_millis(latency),
            pod: (!pod.is_empty()).then(|| pod.to_owned()),
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn merged_crews_count_as_one() {
        let samples = [
            (10, 1, "a", None),
            (20, 2, "b", None),
            (30, 3, "a", Some("HTTP 500")),
            (40, 4, "", Some("refused")),
            (50, 5, "", None),
            (60, 6, "b", None),
        ];
        let mut one = Tally::default();
        let mut crews = [Tally::default(), Tally::default()];
        for (index, (at, latency, pod, error)) in samples.into_iter().enumerate() {
            one.record(sample(at, latency, pod, error));
            crews[index % 2].record(sample(at, latency, pod, error));
        }
        let [mut merged, second] = crews;
        merged.merge(second);
        for tally in [&one, &merged] {
            assert_eq!((tally.calls(), tally.succeeded, tally.failed(), tally.unnamed), (6, 4, 2, 1));
            assert_eq!((tally.pods["a"].calls, tally.pods["a"].errors), (1, 1));
            assert_eq!(tally.pods["b"].first_at, Duration::from_millis(20));
            assert_eq!(tally.pods["b"].last_at, Duration::from_millis(60));
            assert_eq!(tally.pods["b"].latency.count(), 2);
            assert_eq!(tally.latency.percentile(50.0).as_millis(), 2);
            assert_eq!(tally.latency.max().as_millis(), 6);
            assert_eq!(tally.errors["refused"], 1);
        }
    }

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

    #[test]
    fn causes_without_end_are_counted_together() {
        let mut tally = Tally::default();
        for id in 0..1000 {
            tally.record(sample(1, 1, "", Some(&format!("request {id} failed"))));
        }
        assert_eq!(tally.failed(), 1000);
        assert_eq!(tally.errors.len(), MOST_CAUSES + 1);
        assert_eq!(tally.errors[OTHER_CAUSES], 1000 - MOST_CAUSES as u64);
    }
}
