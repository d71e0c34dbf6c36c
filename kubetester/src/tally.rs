//! Counts calls by pod, error, latency and time. Each worker thread has a tally of its own and the tallies are merged
//! at the end, so that counting takes no lock.

mod latency;
mod series;

use std::{collections::HashMap, time::Duration};

pub use self::{
    latency::Latency,
    series::{Counts, Interval, Series},
};

/// The maximum number of distinct causes; further causes are counted together. It bounds memory if error messages
/// contain a unique ID.
const MAX_CAUSES: usize = 64;

/// The maximum number of pods. It bounds memory if each answer carries a new name.
pub(crate) const MAX_PODS: usize = 10_000;

/// The label of the causes beyond the first [`MAX_CAUSES`].
const OTHER_CAUSES: &str = "other errors";

/// The outcome of a number of calls.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// The calls of each pod, by its name. Answers without a name are not counted here.
    pub pods: HashMap<String, PodTally>,
    /// The number of failed calls by cause, a short sentence.
    pub errors: HashMap<String, u64>,
    /// The number of calls that succeeded.
    pub succeeded: u64,
    /// The number of successful answers that did not name their pod, or named a pod beyond [`MAX_PODS`].
    pub unnamed: u64,
    /// The latency of the calls that succeeded, measured from the time when each was due.
    pub latency: Latency,
    /// The delays between the time when a call was due and its start.
    pub lateness: Lateness,
    /// The time that callers were busy: the sum of the durations of all calls.
    pub busy: Duration,
    /// The start of the last call, measured from the start of the load.
    pub last_start: Duration,
    /// All calls over time.
    pub series: Series,
    /// The messages of server-streaming calls that ended; none for other methods.
    pub messages: Option<u64>,
    /// The time from when each server-streaming call was due to its first message.
    pub first_message: Latency,
}

/// The outcome of the calls of one pod.
#[derive(Debug, Clone, Default)]
pub struct PodTally {
    /// The number of calls that the pod answered with success.
    pub calls: u64,
    /// The number of calls that the pod answered with an error.
    pub errors: u64,
    /// The latency of the calls that succeeded.
    pub latency: Latency,
    /// The time of the first answer, measured from the start of the load.
    pub first_at: Duration,
    /// The time of the last answer.
    pub last_at: Duration,
    /// The number of calls that succeeded, in the intervals of [`Tally::series`].
    pub over_time: Counts,
}

/// The delays of an open loop that this program itself caused.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lateness {
    /// The number of calls that started more than 1 ms after they were due.
    pub late: u64,
    /// The longest delay.
    pub most: Duration,
}

/// One call that ended.
#[derive(Debug, Default)]
pub struct Sample {
    /// The end of the call, measured from the start of the load.
    pub at: Duration,
    /// The delay between the time when the call was due and its start.
    pub late: Duration,
    /// The time between the time when the call was due and its end.
    pub latency: Duration,
    /// The pod that answered, if the answer names it.
    pub pod: Option<String>,
    /// The cause, if the call failed.
    pub error: Option<String>,
    /// The messages of a server-streaming call.
    pub messages: Option<Messages>,
}

/// The messages of one call of a server-streaming method.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Messages {
    /// The number.
    pub count: u64,
    /// The time from when the call was sent to the first message, if there was one.
    pub first_after: Option<Duration>,
}

// === impl Tally ===

impl Tally {
    /// Counts one call.
    pub fn record(&mut self, sample: Sample) {
        self.lateness.record(sample.late);
        let took = sample.latency.saturating_sub(sample.late);
        self.busy += took;
        self.last_start = self.last_start.max(sample.at.saturating_sub(took));
        if let Some(Messages { count, first_after }) = sample.messages {
            *self.messages.get_or_insert(0) += count;
            if let Some(after) = first_after {
                self.first_message.record(sample.late + after);
            }
        }
        let failed = sample.error.is_some();
        while !self.series.covers(sample.at) {
            self.widen();
        }
        let interval = self.series.record(sample.at, (!failed).then_some(sample.latency));
        match sample.error {
            Some(cause) => self.count_error(cause, 1),
            None => {
                self.succeeded += 1;
                self.unnamed += u64::from(sample.pod.is_none());
                self.latency.record(sample.latency);
            }
        }
        let Some(name) = sample.pod else { return };
        if self.pods.len() >= MAX_PODS && !self.pods.contains_key(&name) {
            // Counted as an answer without a name.
            self.unnamed += u64::from(!failed);
            return;
        }
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
            pod.over_time.add(interval);
        }
    }

    /// Adds the tally of another worker.
    pub fn merge(&mut self, mut other: Self) {
        while self.series.width() < other.series.width() {
            self.widen();
        }
        while other.series.width() < self.series.width() {
            other.widen();
        }
        self.series.merge(&other.series);
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
        self.busy += other.busy;
        self.last_start = self.last_start.max(other.last_start);
        if let Some(messages) = other.messages {
            *self.messages.get_or_insert(0) += messages;
        }
        self.first_message.merge(&other.first_message);
    }

    /// Returns the number of calls that ended, whether they succeeded or failed.
    pub fn calls(&self) -> u64 {
        self.succeeded + self.failed()
    }

    /// Returns the number of calls that failed.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Returns the number of calls that failed without an answer that names a pod.
    pub fn failed_without_pod(&self) -> u64 {
        self.failed() - self.pods.values().map(|pod| pod.errors).sum::<u64>()
    }

    /// Doubles the width of the intervals, in the whole series and for each pod.
    fn widen(&mut self) {
        self.series.widen();
        self.pods.values_mut().for_each(|pod| pod.over_time.widen());
    }

    fn count_error(&mut self, cause: String, count: u64) {
        let known = self.errors.contains_key(&cause) || self.errors.len() < MAX_CAUSES;
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
        self.over_time.merge(&other.over_time);
        self.first_at = self.first_at.min(other.first_at);
        self.last_at = self.last_at.max(other.last_at);
    }
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
            ..Sample::default()
        }
    }

    #[test]
    fn merged_tallies_equal_a_single_one() {
        let samples = [
            (10, 1, "a", None),
            (20, 2, "b", None),
            (30, 3, "a", Some("HTTP 500")),
            (40, 4, "", Some("refused")),
            (50, 5, "", None),
            (60, 6, "b", None),
        ];
        let mut one = Tally::default();
        let mut parts = [Tally::default(), Tally::default()];
        for (index, (at, latency, pod, error)) in samples.into_iter().enumerate() {
            one.record(sample(at, latency, pod, error));
            parts[index % 2].record(sample(at, latency, pod, error));
        }
        let [mut merged, second] = parts;
        merged.merge(second);
        for tally in [&one, &merged] {
            assert_eq!((tally.calls(), tally.succeeded, tally.failed(), tally.unnamed), (6, 4, 2, 1));
            assert_eq!((tally.pods["a"].calls, tally.pods["a"].errors), (1, 1));
            assert_eq!(tally.pods["b"].first_at, Duration::from_millis(20));
            assert_eq!(tally.pods["b"].last_at, Duration::from_millis(60));
            assert_eq!(tally.pods["b"].latency.count(), 2);
            assert_eq!(tally.series.intervals().iter().map(|one| one.failed).sum::<u64>(), 2);
            // Intervals are 1/512 s wide: 20 ms are in number 10, 60 ms in number 30.
            assert_eq!((tally.pods["b"].over_time.at(10), tally.pods["b"].over_time.at(30)), (1, 1));
            assert_eq!(tally.latency.percentile(50.0).as_millis(), 2);
            assert_eq!(tally.latency.max().as_millis(), 6);
            assert_eq!(tally.errors["refused"], 1);
        }
    }

    #[test]
    fn names_beyond_the_maximum_count_as_unnamed() {
        let mut tally = Tally::default();
        for id in 0..MAX_PODS as u64 + 500 {
            tally.record(sample(1, 1, &format!("request-{id}"), None));
        }
        tally.record(sample(1, 1, "request-7", None));
        assert_eq!((tally.pods.len(), tally.unnamed, tally.pods["request-7"].calls), (MAX_PODS, 500, 2));
    }

    #[test]
    fn causes_beyond_the_maximum_are_counted_together() {
        let mut tally = Tally::default();
        for id in 0..1000 {
            tally.record(sample(1, 1, "", Some(&format!("request {id} failed"))));
        }
        assert_eq!(tally.failed(), 1000);
        assert_eq!(tally.errors.len(), MAX_CAUSES + 1);
        assert_eq!(tally.errors[OTHER_CAUSES], 1000 - MAX_CAUSES as u64);
    }
}
