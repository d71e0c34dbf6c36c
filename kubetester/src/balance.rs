//! Is it balanced? The figures that say so, and what they most likely mean.

use statrs::distribution::{ChiSquared, ContinuousCDF as _};

use crate::tally::Tally;

/// Up to this, busiest over idlest is called even (and so is a difference of a single call) whatever the p-value says: a million calls make any
/// difference "significant", and 5 % is of no consequence.
const EVEN_SKEW: f64 = 1.05;

/// Below this p-value, chance alone is not believed to have made the difference.
const BELIEVABLE: f64 = 0.01;

/// How calls were spread over pods.
#[derive(Debug, Clone, PartialEq)]
pub struct Balance {
    /// Pods that answered at least one call.
    pub pods: usize,
    /// Calls of the busiest pod over calls of the idlest; 1 when there is only one pod, infinite when a
    /// pod gave nothing but errors.
    pub skew: f64,
    /// Calls of the busiest pod less those of the idlest.
    pub difference: u64,
    /// Coefficient of variation: the standard deviation of the calls per pod, over their mean.
    pub variation: f64,
    /// Pearson's chi-squared test against equal shares: how likely a spread at least this uneven is, if
    /// every call picked its pod by a fair die. None with fewer than two pods.
    pub p_value: Option<f64>,
}

/// The evenness that the figures show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// Nothing was answered, or no answer said who gave it.
    Unknown,
    /// One pod took every call.
    OnePod,
    /// All pods took their share, but for one call or [`EVEN_SKEW`].
    Even,
    /// No more uneven than fair dice would make it.
    Random,
    /// More uneven than chance explains.
    Uneven,
}

// === impl Balance ===

impl Balance {
    /// The balance of what was counted: of the calls that pods answered with success.
    pub fn of(tally: &Tally) -> Self {
        Self::of_counts(tally.pods.values().map(|pod| pod.calls))
    }

    /// The balance of numbers of calls, one for each pod.
    pub fn of_counts(counts: impl IntoIterator<Item = u64>) -> Self {
        let counts: Vec<f64> = counts.into_iter().map(|count| count as f64).collect();
        let pods = counts.len();
        let mean = counts.iter().sum::<f64>() / pods.max(1) as f64;
        if pods < 2 || mean == 0.0 {
            return Self { pods, skew: 1.0, difference: 0, variation: 0.0, p_value: None };
        }
        let squares: f64 = counts.iter().map(|count| (count - mean).powi(2)).sum();
        let busiest = counts.iter().copied().fold(0.0, f64::max);
        let idlest = counts.iter().copied().fold(f64::INFINITY, f64::min);
        let freedom = (pods - 1) as f64;
        let p_value = ChiSquared::new(freedom).ok().map(|distribution| distribution.sf(squares / mean));
        Self {
            pods,
            skew: busiest / idlest,
            difference: (busiest - idlest) as u64,
            variation: (squares / pods as f64).sqrt() / mean,
            p_value,
        }
    }

    /// Returns the evenness that the figures show.
    pub fn spread(&self) -> Spread {
        match (self.pods, self.p_value) {
            (0, _) => Spread::Unknown,
            (1, _) => Spread::OnePod,
            _ if self.skew <= EVEN_SKEW || self.difference <= 1 => Spread::Even,
            (_, Some(p)) if p >= BELIEVABLE => Spread::Random,
            _ => Spread::Uneven,
        }
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
    fn tells_even_from_chance_from_uneven() {
        for (table, spread) in [
            (&[][..], Spread::Unknown),
            (&[500], Spread::OnePod),
            (&[4, 4, 4], Spread::Even),
            // Strict turns that stopped in the middle.
            (&[334, 333, 333], Spread::Even),
            (&[5, 4, 4], Spread::Even),
            // Dice.
            (&[30, 41, 29], Spread::Random),
            (&[6, 4, 2], Spread::Random),
            (&[3000, 4100, 2900], Spread::Uneven),
            (&[1_000_000, 1_000_000, 990_000], Spread::Even),
            (&[100, 0, 0], Spread::Uneven),
        ] {
            assert_eq!(Balance::of_counts(table.iter().copied()).spread(), spread, "{table:?}");
        }
    }

    #[test]
    fn the_figures_of_a_small_table() {
        let balance = Balance::of_counts([2, 4, 6]);
        assert_eq!((balance.pods, balance.skew), (3, 3.0));
        // Population standard deviation: sqrt(8/3) over the mean of 4.
        assert!((balance.variation - 0.408_248_290_463_863).abs() < 1e-12);
        assert_eq!(Balance::of_counts([5, 0]).skew, f64::INFINITY);
    }
}
