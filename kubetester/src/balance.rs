//! Is it balanced? The figures that show it, and what they allow to say.
//!
//! Calls are tested in two directions: whether fair dice would spread them so unevenly, and whether a spread with a
//! skew of [`SKEW`] would look so even. If neither can be ruled out, there were too few calls to tell.

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

/// Up to this, busiest over idlest is called even whatever the p-value is: a million calls make any difference
/// "significant", and 5 % is of no consequence.
const EVEN_SKEW: f64 = 1.05;

/// Below this p-value, chance alone is not believed to have made the difference.
pub const UNBELIEVABLE: f64 = 0.001;

/// The number of calls to a single pod that show it to be the only one: of two pods, dice would choose the same so
/// often with a probability below [`UNBELIEVABLE`].
const ONE_POD_CALLS: u64 = 11;

/// The calls for each pod from which on strict turns are told from dice. With fewer, pods may be missing that were not
/// called yet.
const TURNS: u64 = 4;

/// How calls were spread over pods.
#[derive(Debug, Clone, PartialEq)]
pub struct Balance {
    /// Pods that answered at least one call.
    pub pods: usize,
    /// Calls that the figures below are about: those to pods that are known, while the set of pods was stable.
    pub calls: u64,
    /// Calls of the busiest pod over calls of the idlest; 1 when there is only one pod, infinite when a pod gave
    /// nothing but errors. If the set of pods changed, each pod's calls count relative to its equal share.
    pub skew: f64,
    /// Calls of the busiest pod less those of the idlest.
    pub difference: u64,
    /// Coefficient of variation: the standard deviation of the calls per pod, over their mean.
    pub variation: f64,
    /// Pearson's chi-squared test against equal shares: how likely a spread at least this uneven is, if every call
    /// picked its pod by a fair die. None with fewer than two pods.
    pub p_value: Option<f64>,
    /// The changes of the set of pods during the load, in the order of time.
    pub changes: Vec<PodChange>,
    /// The time in which the set of pods was stable, in seconds; none if it never changed.
    pub stable: Option<f64>,
    /// The number of pods of the largest stable set; 0 if there was none with enough calls.
    together: usize,
    /// How likely a spread at least this even is, if one pod took [`SKEW`] times the calls of each other one.
    p_skewed: f64,
    /// How likely a spread at least this even is, if every call picked its pod by a fair die.
    p_turns: f64,
}

/// The evenness that the figures show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// Nothing was answered, or no answer named its pod.
    Unknown,
    /// The set of pods changed too often to judge anything.
    Unsettled,
    /// There are too few calls to tell even from skewed.
    TooFew {
        /// The number of calls that usually is enough.
        needed: u64,
    },
    /// One pod at a time took every call.
    OnePod,
    /// All pods took their share, up to [`EVEN_SKEW`], or more evenly than dice would deal.
    Even,
    /// No more uneven than fair dice would make it.
    Random,
    /// More uneven than chance explains.
    Uneven,
}

/// Sums over windows.
#[derive(Default)]
struct Sums {
    statistic: f64,
    /// The same with each deviation half a call larger: calls are whole numbers.
    corrected: f64,
    freedom: f64,
    noncentrality: f64,
    calls: u64,
    difference: u64,
    together: usize,
    /// The calls of each pod, and its equal share of all calls.
    pods: HashMap<String, (f64, f64)>,
}

// === impl Balance ===

impl Balance {
    /// The balance of the calls that pods answered with success.
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

    /// The balance of numbers of calls, one for each pod.
    pub fn of_counts(counts: impl IntoIterator<Item = u64>) -> Self {
        let calls: Vec<_> =
            counts.into_iter().enumerate().map(|(number, calls)| (number.to_string(), calls)).collect();
        Self::new(calls.len(), &[Window(calls)], Vec::new(), None)
    }

    fn new(pods: usize, windows: &[Window], changes: Vec<PodChange>, stable: Option<f64>) -> Self {
        let mut sums = Sums::default();
        windows.iter().for_each(|window| sums.add(window));
        let Sums { statistic, corrected, freedom, noncentrality, calls, difference, together, pods: shares } =
            sums;
        let ratios: Vec<_> = shares.values().map(|(calls, share)| calls / share).collect();
        let tested = freedom > 0.0;
        let (mut skew, mut variation) = (1.0, 0.0);
        if tested {
            let busiest = ratios.iter().copied().fold(0.0, f64::max);
            let idlest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
            skew = busiest / idlest;
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
            together,
            p_skewed: match windows {
                [Window(counts)] if difference <= 1 && tested && calls >= TURNS * counts.len() as u64 => {
                    power::most_even(counts.len(), calls)
                }
                _ if tested => power::below(corrected, freedom, noncentrality),
                _ => 1.0,
            },
            p_turns: if tested { power::chi_squared(freedom).cdf(corrected) } else { 1.0 },
        }
    }

    /// Returns the evenness that the figures show.
    pub fn spread(&self) -> Spread {
        let even = self.skew <= EVEN_SKEW || self.difference <= 1 || self.p_turns <= CONFIDENCE;
        match (self.together, self.p_value) {
            _ if self.pods == 0 || (self.calls == 0 && self.stable.is_none()) => Spread::Unknown,
            (0, _) => Spread::Unsettled,
            (1, _) if self.calls < ONE_POD_CALLS => Spread::TooFew { needed: ONE_POD_CALLS },
            (1, _) => Spread::OnePod,
            (_, Some(p)) if p < UNBELIEVABLE && self.skew > EVEN_SKEW => Spread::Uneven,
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
        self.together = self.together.max(pods);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The p-values are scipy 1.17's: `scipy.stats.chisquare(table).pvalue`.
    #[test]
    fn agrees_with_scipy() {
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
    fn tells_even_from_chance_from_uneven_from_too_few() {
        for (table, spread) in [
            (&[][..], Spread::Unknown),
            (&[500], Spread::OnePod),
            (&[4], Spread::TooFew { needed: 11 }),
            // Strict turns, also those that stopped in the middle.
            (&[20, 20, 20], Spread::Even),
            (&[334, 333, 333], Spread::Even),
            (&[101, 99, 100], Spread::Even),
            (&[4; 10], Spread::Even),
            // Dice.
            (&[300, 320, 280], Spread::Random),
            (&[5050, 4800], Spread::Random),
            // Either.
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
    fn the_figures_of_a_small_table() {
        let balance = Balance::of_counts([2, 4, 6]);
        assert_eq!((balance.pods, balance.calls, balance.skew), (3, 12, 3.0));
        // Population standard deviation: sqrt(8/3) over the mean of 4.
        assert!((balance.variation - 0.408_248_290_463_863).abs() < 1e-12);
        assert_eq!(Balance::of_counts([5, 0]).skew, f64::INFINITY);
    }
}
