//! Analyses a drill: finds the longest gap, the pods that were lost or became ready, and the times of their answers.

use serde::Serialize;

use super::{
    event_log::{Event, EventKind},
    success_log::CallTimes,
};

/// The findings of a drill. Times are in seconds from the start of the load.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Analysis {
    /// The longest time without a successful call.
    pub longest_gap: Gap,
    /// The times of the first and the last failed call; null if no call failed.
    pub failures: Option<Span>,
    /// The pods that were lost, in chronological order.
    pub lost: Vec<LostPod>,
    /// The pods that became ready, in chronological order.
    pub found: Vec<Found>,
}

/// A time without a successful call: between two successful calls, before the first, or after the last.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Gap {
    /// The length of the gap, in seconds.
    pub seconds: f64,
    /// The start of the gap.
    pub at: f64,
}

/// The time from the first to the last failed call.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Span {
    /// The time of the first failed call.
    pub first_at: f64,
    /// The time of the last failed call.
    pub last_at: f64,
}

/// A pod that was lost.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LostPod {
    /// The name of the pod.
    pub pod: String,
    /// The event in which it was lost.
    pub what: EventKind,
    /// The time of the event.
    pub at: f64,
    /// The time of the pod's last answer, or of the last one before its return; null if it never answered.
    pub last_answer_at: Option<f64>,
}

/// A pod that became ready, for the first time or again.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Found {
    /// The name of the pod.
    pub pod: String,
    /// The time when it became ready.
    pub ready_at: f64,
    /// The time of the pod's first answer after that; null if there was none.
    pub first_answer_at: Option<f64>,
    /// The time from readiness to the first answer; null if there was none.
    pub discovery: Option<f64>,
}

// === impl Analysis ===

impl Analysis {
    /// Compares the events with the calls of a load that took `elapsed` seconds.
    pub fn new(events: &[Event], call_times: &CallTimes, elapsed: f64) -> Self {
        let mut lost = Vec::new();
        let mut found = Vec::new();
        for (index, Event { at, what, pod }) in events.iter().enumerate() {
            let Some(pod) = pod.clone() else { continue };
            let answers = call_times.pods.get(&pod).map(Vec::as_slice).unwrap_or_default();
            if what.is_loss() {
                let back = |event: &&Event| event.what.is_gain() && event.pod.as_ref() == Some(&pod);
                let until = events[index..].iter().find(back).map_or(f64::INFINITY, |event| event.at);
                let last = answers.iter().copied().filter(|answer| *answer < until).reduce(f64::max);
                lost.push(LostPod { pod, what: *what, at: *at, last_answer_at: last });
            } else if what.is_gain() {
                let first = answers.iter().copied().filter(|answer| answer >= at).reduce(f64::min);
                let discovery = first.map(|first| first - at);
                found.push(Found { pod, ready_at: *at, first_answer_at: first, discovery });
            }
        }
        let first_at = call_times.failures.iter().copied().reduce(f64::min);
        let last_at = call_times.failures.iter().copied().reduce(f64::max);
        let failures = first_at.zip(last_at).map(|(first_at, last_at)| Span { first_at, last_at });
        Self { longest_gap: Gap::longest(call_times, elapsed), failures, lost, found }
    }
}

// === impl Gap ===

impl Gap {
    fn longest(call_times: &CallTimes, elapsed: f64) -> Self {
        let mut successes: Vec<f64> =
            call_times.pods.values().flatten().chain(&call_times.unnamed).copied().collect();
        successes.push(elapsed);
        successes.sort_by(f64::total_cmp);
        let mut longest = Self { seconds: 0.0, at: 0.0 };
        let mut last = 0.0;
        for success in successes {
            if success - last > longest.seconds {
                longest = Self { seconds: success - last, at: last };
            }
            last = success;
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: f64, what: EventKind, pod: &str) -> Event {
        Event { at, what, pod: Some(pod.to_owned()) }
    }

    fn call_times(pods: &[(&str, &[f64])]) -> CallTimes {
        let pods = pods.iter().map(|(pod, times)| ((*pod).to_owned(), times.to_vec())).collect();
        CallTimes { pods, ..CallTimes::default() }
    }

    #[test]
    fn pod_that_is_killed_and_returns_is_lost_and_found() {
        let events = [event(2.0, EventKind::Killed, "b"), event(5.0, EventKind::Ready, "b")];
        // Workers write concurrently, so the answers are not sorted.
        let mut call_times = call_times(&[("a", &[0.5, 1.0, 4.0, 7.0]), ("b", &[1.5, 2.125, 2.0, 6.0, 5.5])]);
        call_times.failures = vec![2.5, 2.25];
        let analysis = Analysis::new(&events, &call_times, 7.5);
        let lost = LostPod { pod: "b".into(), what: EventKind::Killed, at: 2.0, last_answer_at: Some(2.125) };
        assert_eq!(analysis.lost, [lost]);
        let found =
            Found { pod: "b".into(), ready_at: 5.0, first_answer_at: Some(5.5), discovery: Some(0.5) };
        assert_eq!(analysis.found, [found]);
        assert_eq!(analysis.failures, Some(Span { first_at: 2.25, last_at: 2.5 }));
        assert_eq!(analysis.longest_gap, Gap { seconds: 1.875, at: 2.125 });
    }

    #[test]
    fn pod_that_never_answered_has_no_discovery() {
        let events = [event(1.0, EventKind::Ready, "c"), event(1.0, EventKind::Stopping, "d")];
        let analysis = Analysis::new(&events, &call_times(&[("a", &[1.0])]), 2.0);
        assert_eq!((analysis.found[0].first_answer_at, analysis.found[0].discovery), (None, None));
        assert_eq!(analysis.lost[0].last_answer_at, None);
        assert_eq!(analysis.failures, None);
    }

    #[test]
    fn gap_at_the_start_or_the_end_is_found() {
        for (answers, seconds, at) in
            [(&[3.0, 3.5, 4.0][..], 3.0, 0.0), (&[0.5, 1.0], 3.5, 1.0), (&[], 4.5, 0.0)]
        {
            assert_eq!(
                Analysis::new(&[], &call_times(&[("a", answers)]), 4.5).longest_gap,
                Gap { seconds, at }
            );
        }
    }
}
