//! Statistics of how evenly calls were spread over pods, and the conclusions that they support.
//!
//! Calls are tested against two hypotheses: that each call picked its pod by a fair random choice, and that one pod
//! takes [`SKEW`] times the calls of each other pod. If neither can be rejected, there were too few calls to tell.

mod power;
mod stable;

use std::collections::HashMap;

use statrs::distribution::ContinuousCDF as _;

use self::power::CONFIDENCE;
use self::stable::{Stable, Window};
pub use self::{
    power::{SKEW, calls_needed},
    stable::PodChange,
};
use crate::tally::Tally;

/// The largest ratio of the busiest to the least loaded pod that is called even whatever the p-value is. With a million
/// calls any difference is "significant", and 5 % has no practical consequence.
const EVEN_SKEW: f64 = 1.05;

/// The significance level: below this p-value, chance does not explain the difference.
pub const SIGNIFICANCE: f64 = 0.001;

/// The number of calls to a single pod that show it to be the only one. A fair random choice between two pods would
/// pick the same pod this often with a probability below [`SIGNIFICANCE`].
const ONE_POD_CALLS: u64 = 11;

/// The minimum number of calls per pod that distinguishes strict round robin from a random choice. With fewer calls,
/// some pods may not have been called yet.
const ROUND_ROBIN_CALLS: u64 = 4;

/// The spread of calls over pods.
#[derive(Debug, Clone, PartialEq)]
pub struct Balance {
    /// The number of pods that answered at least one call.
    pub pods: usize,
    /// The number of calls in the statistics below: calls to known pods while the set of pods was stable.
    pub calls: u64,
    /// The calls of the busiest pod over those of the least loaded pod. It is 1 for a single pod and infinite if a pod
    /// only returned errors. If the set of pods changed, each pod's calls count relative to its equal share.
    pub skew: f64,
    /// The calls of the busiest pod minus those of the least loaded pod.
    pub difference: u64,
    /// The coefficient of variation: the standard deviation of the calls per pod, over their mean.
    pub variation: f64,
    /// The p-value of Pearson's chi-squared test against equal shares: the probability of a spread at least this
    /// uneven if every call picked its pod by a fair random choice. `None` with fewer than two pods.
    pub p_value: Option<f64>,
    /// The changes of the set of pods during the load, in chronological order.
    pub changes: Vec<PodChange>,
    /// The time during which the set of pods was stable, in seconds; `None` if it never changed.
    pub stable: Option<f64>,
    /// The number of pods of the largest stable set; 0 if no stable set had enough calls.
    largest_set: usize,
    /// The probability of a spread at least this even if one pod took [`SKEW`] times the calls of each other pod.
    p_skewed: f64,
    /// The probability of a spread at least this even if every call picked its pod by a fair random choice.
    p_fair: f64,
}

/// The conclusion about the spread of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// No call was answered, or no answer named its pod.
    Unknown,
    /// The set of pods changed too often to judge anything.
    Unsettled,
    /// There are too few calls to tell even from skewed.
    TooFew {
        /// The number of calls that usually suffices.
        needed: u64,
    },
    /// One pod at a time took every call.
    OnePod,
    /// All pods took their share, up to [`EVEN_SKEW`], or the spread is more even than a random choice would make it.
    Even,
    /// The spread is no more uneven than a fair random choice would make it.
    Random,
    /// The spread is more uneven than chance explains.
    Uneven,
}

/// Sums over the windows in which the set of pods was stable.
#[derive(Default)]
struct Sums {
    /// The chi-squared statistic.
    statistic: f64,
    /// The statistic with each deviation half a call larger (continuity correction).
    corrected: f64,
    freedom: f64,
    noncentrality: f64,
    calls: u64,
    difference: u64,
    largest_set: usize,
    /// The calls of each pod, and its equal share of all calls.
    pods: HashMap<String, (f64, f64)>,
}

// === impl Balance ===

impl Balance {
    /// Computes the balance of the calls that succeeded.
    pub fn of(tally: &Tally) -> Self {
        let pods = tally.pods.len();
        match Stable::of(tally) {
            None => {
                let calls = tally.pods.iter().map(|(name, pod)| (name.clone(), pod.calls));
                Self::new(pods, &[Window(calls.collect())], Vec::new(), None)
            }
            Some(Stable { changes, windows, seconds }) => Self::new(pods, &windows, changes, Some(seconds)),
        }
    }

    /// Computes the balance of a list with the number of calls of each pod.
    pub fn of_counts(counts: impl IntoIterator<Item = u64>) -> Self {
        let calls: Vec<_> =
            counts.into_iter().enumerate().map(|(number, calls)| (number.to_string(), calls)).collect();
        Self::new(calls.len(), &[Window(calls)], Vec::new(), None)
    }

    fn new(pods: usize, windows: &[Window], changes: Vec<PodChange>, stable: Option<f64>) -> Self {
        let mut sums = Sums::default();
        windows.iter().for_each(|window| sums.add(window));
        let Sums {
            statistic,
            corrected,
            freedom,
            noncentrality,
            calls,
            difference,
            largest_set,
            pods: shares,
        } = sums;
        let ratios: Vec<_> = shares.values().map(|(calls, share)| calls / share).collect();
        let tested = freedom > 0.0;
        let (mut skew, mut variation) = (1.0, 0.0);
        if tested {
            let busiest = ratios.iter().copied().fold(0.0, f64::max);
            let least_loaded = ratios.iter().copied().fold(f64::INFINITY, f64::min);
            skew = busiest / least_loaded;
            let squares: f64 = ratios.iter().map(|ratio| (ratio - 1.0).powi(2)).sum();
            variation = (squares / ratios.len() as f64).sqrt();
        }
        Self {
            pods,
            calls,
            skew,
            difference,
            variation,
            p_value: tested.then(|| power::chi_squared(freedom).sf(statistic)),
            changes,
            stable,
            largest_set,
            p_skewed: match windows {
                [Window(counts)]
                    if difference <= 1 && tested && calls >= ROUND_ROBIN_CALLS * counts.len() as u64 =>
                {
                    power::most_even(counts.len(), calls)
                }
                _ if tested => power::below(corrected, freedom, noncentrality),
                _ => 1.0,
            },
            p_fair: if tested { power::chi_squared(freedom).cdf(corrected) } else { 1.0 },
        }
    }

    /// Returns the conclusion that the statistics support.
    pub fn spread(&self) -> Spread {
        let even = self.skew <= EVEN_SKEW || self.difference <= 1 || self.p_fair <= CONFIDENCE;
        match (self.largest_set, self.p_value) {
            _ if self.pods == 0 || (self.calls == 0 && self.stable.is_none()) => Spread::Unknown,
            (0, _) => Spread::Unsettled,
            (1, _) if self.calls < ONE_POD_CALLS => Spread::TooFew { needed: ONE_POD_CALLS },
            (1, _) => Spread::OnePod,
            (_, Some(p)) if p < SIGNIFICANCE && self.skew > EVEN_SKEW => Spread::Uneven,
            _ if self.p_skewed <= CONFIDENCE && even => Spread::Even,
            _ if self.p_skewed <= CONFIDENCE => Spread::Random,
            (pods, _) => match calls_needed(pods) {
                needed if needed > self.calls => Spread::TooFew { needed },
                // The usual number of calls was not enough for this spread.
                _ => Spread::TooFew { needed: 2 * self.calls },
            },
        }
    }
}

// === impl Sums ===

impl Sums {
    fn add(&mut self, Window(counts): &Window) {
        let pods = counts.len();
        let calls: u64 = counts.iter().map(|(_, calls)| calls).sum();
        if calls == 0 {
            return;
        }
        let share = calls as f64 / pods as f64;
        for (name, calls) in counts {
            let deviation = (*calls as f64 - share).abs();
            self.statistic += deviation.powi(2) / share;
            self.corrected += (deviation + 0.5).powi(2) / share;
            let pod = self.pods.entry(name.clone()).or_default();
            *pod = (pod.0 + *calls as f64, pod.1 + share);
        }
        let most = counts.iter().map(|(_, calls)| *calls).max().unwrap_or_default();
        let least = counts.iter().map(|(_, calls)| *calls).min().unwrap_or_default();
        self.difference = self.difference.max(most - least);
        self.freedom += (pods - 1) as f64;
        self.noncentrality += calls as f64 * power::noncentrality(pods);
        self.calls += calls;
        self.largest_set = self.largest_set.max(pods);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The p-values are scipy 1.17's: `scipy.stats.chisquare(table).pvalue`.
    #[test]
    fn probabilities_match_scipy() {
        for (table, p_value) in SCIPY {
            let balance = Balance::of_counts(table.iter().copied());
            let ours = balance.p_value.unwrap();
            assert!((ours / p_value - 1.0).abs() <= 1e-9, "{table:?}: {ours} and {p_value}");
        }
    }

    const SCIPY: [(&[u64], f64); 8] = [
        (&[1, 0], 0.31731050786291115),
        (&[4, 4, 4], 1.0),
        (&[6, 4, 2], 0.36787944117144245),
        (&[30, 41, 29], 0.264477261299824),
        (&[10, 20, 30, 40], 0.00016974243555282632),
        (&[1205, 1190, 1250, 1180, 1175], 0.5508769595625405),
        (&[100, 0, 0], 3.7200759760208715e-44),
        (&[3000, 4100, 2900], 1.7331410423415286e-58),
    ];

    #[test]
    fn counts_have_their_spread() {
        for (table, spread) in [
            (&[][..], Spread::Unknown),
            (&[500], Spread::OnePod),
            (&[4], Spread::TooFew { needed: 11 }),
            // Strict round robin, also stopped in the middle of a round.
            (&[20, 20, 20], Spread::Even),
            (&[334, 333, 333], Spread::Even),
            (&[101, 99, 100], Spread::Even),
            (&[4; 10], Spread::Even),
            // A fair random choice.
            (&[300, 320, 280], Spread::Random),
            (&[5050, 4800], Spread::Random),
            // Too few calls to decide between the two.
            (&[1, 2, 1], Spread::TooFew { needed: 520 }),
            (&[4, 4, 4], Spread::TooFew { needed: 520 }),
            (&[30, 41, 29], Spread::TooFew { needed: 520 }),
            (&[180, 150, 192], Spread::TooFew { needed: 1044 }),
            (&[3000, 4100, 2900], Spread::Uneven),
            (&[1_000_000, 1_000_000, 990_000], Spread::Even),
            (&[100, 0, 0], Spread::Uneven),
            (&[19, 1], Spread::Uneven),
        ] {
            assert_eq!(Balance::of_counts(table.iter().copied()).spread(), spread, "{table:?}");
        }
    }

    #[test]
    fn small_table_has_the_statistics_computed_by_hand() {
        let balance = Balance::of_counts([2, 4, 6]);
        assert_eq!((balance.pods, balance.calls, balance.skew), (3, 12, 3.0));
        // Population standard deviation: sqrt(8/3) over the mean of 4.
        assert!((balance.variation - 0.408_248_290_463_863).abs() < 1e-12);
        assert_eq!(Balance::of_counts([5, 0]).skew, f64::INFINITY);
    }
}
