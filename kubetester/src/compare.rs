//! The same load on several targets, side by side: which is best at what.
//!
//! [`Comparison`] is also the document that `--json` prints; fields are only ever added to it, or its version
//! changes.

use serde::Serialize;

use crate::result::LoadResult;

/// The version of the document.
pub const SCHEMA: &str = "kubetester.compare/1";

/// Figures that differ by less than this share are taken for the same.
const TIE: f64 = 0.005;

/// The results of several targets.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Comparison {
    /// The version of the document.
    #[cfg_attr(test, schemars(extend("const" = SCHEMA)))]
    pub schema: &'static str,
    /// In how many parts each target got its load, one target after the other.
    pub rounds: u32,
    /// In the order of the command line.
    pub results: Vec<Compared>,
}

/// One target among others.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Compared {
    /// The route of a gateway, or the target itself.
    pub name: String,
    /// In which figures no other is better, and some other worse.
    pub best: Vec<Figure>,
    /// The load on this target, as `load` reports it. Its times leave out the turns of the other targets.
    pub load: LoadResult,
}

/// The figures by which targets are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// More is better.
    CallsPerSecond,
    /// Fewer failed calls are better.
    Failed,
    /// More pods are better.
    Pods,
    /// Calls of the busiest pod over the idlest: less is better. One pod alone has none.
    Skew,
    /// Median latency: less is better.
    P50,
    /// Less is better.
    P99,
}

// === impl Comparison ===

impl Comparison {
    /// Puts the results, each with its name, side by side.
    pub fn new(rounds: u32, results: Vec<(String, LoadResult)>) -> Self {
        let loads: Vec<_> = results.iter().map(|(_, load)| load).collect();
        let best: Vec<_> = Figure::ALL.map(|figure| (figure, figure.best(&loads))).into();
        let compared = |(index, (name, load))| {
            let best = best.iter().filter(|(_, best)| best.contains(&index)).map(|(figure, _)| *figure);
            Compared { name, best: best.collect(), load }
        };
        Self { schema: SCHEMA, rounds, results: results.into_iter().enumerate().map(compared).collect() }
    }

    /// Returns whether every expectation held for every target.
    pub fn held(&self) -> bool {
        self.results.iter().all(|one| one.load.held())
    }
}

// === impl Figure ===

impl Figure {
    /// All of them, in the order that a table shows them.
    pub const ALL: [Self; 6] =
        [Self::CallsPerSecond, Self::Failed, Self::Pods, Self::Skew, Self::P50, Self::P99];

    /// Returns this figure of a result, if the result has it.
    pub fn of(self, load: &LoadResult) -> Option<f64> {
        let answered = load.succeeded > 0;
        match self {
            Self::CallsPerSecond => Some(load.calls_per_second),
            Self::Failed => Some(load.failed as f64),
            Self::Pods => Some(load.balance.pods as f64).filter(|pods| *pods > 0.0),
            Self::Skew if load.balance.pods > 1 => Some(load.balance.skew.unwrap_or(f64::INFINITY)),
            Self::Skew => None,
            Self::P50 => Some(load.latency.p50).filter(|_| answered),
            Self::P99 => Some(load.latency.p99).filter(|_| answered),
        }
    }

    /// Which are the best; none if all are.
    fn best(self, loads: &[&LoadResult]) -> Vec<usize> {
        self.best_of(&loads.iter().map(|load| self.of(load)).collect::<Vec<_>>())
    }

    fn best_of(self, figures: &[Option<f64>]) -> Vec<usize> {
        let more_is_better = matches!(self, Self::CallsPerSecond | Self::Pods);
        let known = figures.iter().copied().flatten();
        let best = if more_is_better { known.reduce(f64::max) } else { known.reduce(f64::min) };
        let Some(best) = best else { return Vec::new() };
        let ties = |figure: f64| match more_is_better {
            true => figure >= best * (1.0 - TIE),
            false => figure <= best * (1.0 + TIE),
        };
        let winners: Vec<_> = (0..figures.len()).filter(|index| figures[*index].is_some_and(ties)).collect();
        if winners.len() == figures.len() { Vec::new() } else { winners }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_marked_unless_all_are() {
        use Figure::{CallsPerSecond, Failed, P99, Pods, Skew};
        for (figure, figures, best) in [
            (CallsPerSecond, &[Some(1000.0), Some(900.0), Some(996.0)][..], &[0, 2][..]),
            (CallsPerSecond, &[Some(1000.0), Some(999.0)], &[]),
            (Failed, &[Some(0.0), Some(1.0)], &[0]),
            (Failed, &[Some(0.0), Some(0.0)], &[]),
            (Pods, &[Some(3.0), Some(1.0), Some(3.0)], &[0, 2]),
            (Skew, &[Some(1.0), None, Some(1.4)], &[0]),
            (Skew, &[Some(1.0), None], &[0]),
            (Skew, &[Some(f64::INFINITY), Some(2.0)], &[1]),
            (P99, &[Some(0.002), Some(0.001), None], &[1]),
            (P99, &[None, None], &[]),
        ] {
            assert_eq!(figure.best_of(figures), best, "{figure:?} {figures:?}");
        }
    }
}
