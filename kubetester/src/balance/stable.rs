//! Finds the windows of time in which the set of answering pods did not change.
//!
//! Calls can only be spread over the pods that exist. If pods were added or removed during the load, each pod's share
//! of all calls is therefore meaningless, and evenness is judged within the windows only.

use std::{ops::Range, time::Duration};

use serde::Serialize;

use crate::tally::{PodTally, Tally};

/// The logarithm of a probability of 1 in 1.2 million. A pod counts as added or removed if the probability that it was
/// merely not chosen for that long is below it.
const CHANCE_CUTOFF: f64 = -14.0;

/// The minimum number of calls per pod of a window; the chi-squared test needs about five.
const MIN_CALLS: u64 = 5;

/// A change of the set of pods that answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PodChange {
    /// Name of the pod.
    pub pod: String,
    /// True if the pod was added, false if it was removed.
    pub came: bool,
    /// Time of the change, in seconds from the start of the load.
    pub at: f64,
}

/// The calls of each pod while the set of pods was stable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window(pub(super) Vec<(String, u64)>);

/// The changes of the set of pods, and the times between them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stable {
    /// In chronological order.
    pub(super) changes: Vec<PodChange>,
    /// The windows with enough calls to be judged.
    pub(super) windows: Vec<Window>,
    /// The total length of all windows, in seconds.
    pub(super) seconds: f64,
}

/// A period in which a pod answered, in intervals of the series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Presence {
    /// The first interval: 0 if the pod was there from the start.
    first: usize,
    /// The last interval.
    last: usize,
    came: bool,
    left: bool,
}

// === impl Stable ===

impl Stable {
    /// Returns the changes of the set of pods and the windows between them; `None` if the set did not change.
    pub(super) fn of(tally: &Tally) -> Option<Self> {
        let width = tally.series.width().as_secs_f64();
        let mut totals = vec![0; tally.series.intervals().len()];
        for pod in tally.pods.values() {
            totals.iter_mut().enumerate().for_each(|(number, total)| *total += pod.over_time.at(number));
        }
        let present = |(name, pod)| (name, pod, Presence::all(pod, &totals));
        let mut pods: Vec<(&String, &PodTally, _)> = tally.pods.iter().map(present).collect();
        pods.sort_unstable_by_key(|(name, ..)| *name);

        let mut changes = Vec::new();
        let mut disturbed = vec![false; totals.len()];
        for (name, pod, presences) in &pods {
            let mut change = |came, number: usize, at: Duration| {
                let (from, to) = (number as f64 * width, (number + 1) as f64 * width);
                changes.push(PodChange { pod: (*name).clone(), came, at: at.as_secs_f64().clamp(from, to) });
                // Calls in flight during a change may end in the following interval.
                disturbed[number..].iter_mut().take(2).for_each(|flag| *flag = true);
            };
            for presence in presences {
                if presence.came {
                    change(true, presence.first, pod.first_at);
                }
                if presence.left {
                    change(false, presence.last, pod.last_at);
                }
            }
        }
        if changes.is_empty() {
            return None;
        }
        changes.sort_by(|a, b| a.at.total_cmp(&b.at));

        let (mut windows, mut judged) = (Vec::new(), 0);
        for span in runs(&disturbed, false) {
            // A pod that was present but never chosen counts with 0 calls.
            let present =
                pods.iter().filter(|(.., presences)| presences.iter().any(|presence| presence.covers(&span)));
            let calls = |pod: &PodTally| span.clone().map(|number| pod.over_time.at(number)).sum::<u64>();
            let counts: Vec<_> = present.map(|(name, pod, _)| ((*name).clone(), calls(pod))).collect();
            let total: u64 = counts.iter().map(|(_, calls)| calls).sum();
            if !counts.is_empty() && total >= MIN_CALLS * counts.len() as u64 {
                judged += span.len();
                windows.push(Window(counts));
            }
        }
        Some(Self { changes, windows, seconds: judged as f64 * width })
    }
}

// === impl Presence ===

impl Presence {
    /// Returns the periods in which a pod answered; `totals` are the calls of all pods in each interval.
    fn all(pod: &PodTally, totals: &[u64]) -> Vec<Self> {
        let silent: Vec<bool> = (0..totals.len()).map(|number| pod.over_time.at(number) == 0).collect();
        let (Some(first), Some(last)) =
            (silent.iter().position(|silent| !silent), silent.iter().rposition(|silent| !silent))
        else {
            return Vec::new();
        };
        let calls = |span: Range<usize>| totals[span].iter().sum::<u64>() as f64;
        let span = calls(first..last + 1);
        // If the pod was present all the time, each of its calls missed a given fraction of all calls independently.
        // The probability that all of them did is (1 - fraction)^calls.
        let by_chance = |missed: f64, of: f64| pod.calls as f64 * (1.0 - missed / of).ln();
        let (before, after) = (calls(0..first), calls(last + 1..totals.len()));
        let came = by_chance(before, before + span) < CHANCE_CUTOFF;
        let left = by_chance(after, span + after) < CHANCE_CUTOFF;
        let mut all = vec![Self {
            first: if came { first } else { 0 },
            last: if left { last } else { totals.len() - 1 },
            came,
            left,
        }];
        for gap in runs(&silent[..last], true).filter(|gap| gap.start > first) {
            // A gap may begin at any of the pod's calls.
            let chance = (pod.calls as f64).ln() + by_chance(calls(gap.clone()), span);
            if chance < CHANCE_CUTOFF
                && let Some(current) = all.last_mut()
            {
                let rest = Self { first: gap.end, came: true, ..*current };
                *current = Self { last: gap.start - 1, left: true, ..*current };
                all.push(rest);
            }
        }
        all
    }

    fn covers(&self, span: &Range<usize>) -> bool {
        self.first <= span.start && span.end <= self.last + 1
    }
}

/// Returns the maximal runs of `wanted` in `flags`.
fn runs(flags: &[bool], wanted: bool) -> impl Iterator<Item = Range<usize>> {
    let mut end = 0;
    flags.chunk_by(|a, b| a == b).filter_map(move |chunk| {
        let start = end;
        end += chunk.len();
        (chunk[0] == wanted).then_some(start..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Sample;

    /// Returns the tally of one call per millisecond, spread by round robin over the pods that `present` returns.
    fn tally(millis: u64, present: impl Fn(u64) -> Vec<&'static str>) -> Tally {
        let mut tally = Tally::default();
        for at in 0..millis {
            let present = present(at);
            tally.record(Sample {
                at: Duration::from_millis(at),
                late: Duration::ZERO,
                latency: Duration::from_micros(500),
                pod: Some(present[at as usize % present.len()].to_owned()),
                error: None,
                ..Sample::default()
            });
        }
        tally
    }

    fn changes(stable: &Stable) -> Vec<(&str, bool, u64)> {
        stable
            .changes
            .iter()
            .map(|one| (one.pod.as_str(), one.came, (one.at * 10.0).round() as u64))
            .collect()
    }

    #[test]
    fn unchanged_pods_have_no_changes() {
        assert_eq!(Stable::of(&tally(6000, |_| vec!["a", "b", "c"])), None);
        assert_eq!(Stable::of(&tally(3, |_| vec!["a", "b", "c"])), None);
        assert_eq!(Stable::of(&Tally::default()), None);
        // The first call to a rarely chosen pod does not mean that the pod was added then.
        let rare = |at| if at == 900 { vec!["rare"] } else { vec!["a", "b"] };
        assert_eq!(Stable::of(&tally(6000, rare)), None);
    }

    #[test]
    fn rolling_restart_is_split_into_windows_between_changes() {
        let stable = Stable::of(&tally(6000, |at| match at {
            0..2000 => vec!["a", "b", "c"],
            2000..4000 => vec!["b", "c", "d"],
            _ => vec!["c", "d", "e"],
        }))
        .unwrap();
        assert_eq!(changes(&stable), [("a", false, 20), ("d", true, 20), ("b", false, 40), ("e", true, 40)]);
        let pods: Vec<Vec<_>> = stable
            .windows
            .iter()
            .map(|window| window.0.iter().map(|(pod, _)| pod.as_str()).collect())
            .collect();
        assert_eq!(pods, [["a", "b", "c"], ["b", "c", "d"], ["c", "d", "e"]]);
        assert!((5.0..6.0).contains(&stable.seconds), "{}", stable.seconds);
    }

    #[test]
    fn absent_pod_is_removed_and_added_again() {
        let away = |at| if (2000..4000).contains(&at) { vec!["a", "b"] } else { vec!["a", "b", "c"] };
        let stable = Stable::of(&tally(6000, away)).unwrap();
        assert_eq!(changes(&stable), [("c", false, 20), ("c", true, 40)]);
        let pods: Vec<_> = stable.windows.iter().map(|window| window.0.len()).collect();
        assert_eq!(pods, [3, 2, 3]);
    }
}
