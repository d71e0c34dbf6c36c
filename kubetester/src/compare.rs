//! Compares several targets under the same load and finds the best in each figure.
//!
//! [`Comparison`] is also the document that `--json` prints. Fields are only ever added to it; any other change changes
//! its version.

use std::time::Duration;

use serde::Serialize;

use crate::{result::LoadResult, tally::Tally};

/// The version of the document.
pub const SCHEMA: &str = "kubetester.compare/1";

/// Figures that differ by less than this share count as equal.
const TIE: f64 = 0.005;

/// The number of standard deviations between rounds up to which a difference counts as noise.
const NOISE: f64 = 2.0;

/// The results of several targets.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Comparison {
    /// The kind and version of the document.
    #[cfg_attr(test, schemars(extend("const" = SCHEMA)))]
    pub schema: &'static str,
    /// The number of rounds. In each round, every target gets an equal part of its load, one target after the other.
    pub rounds: u32,
    /// The results in the order of the command line.
    pub results: Vec<Compared>,
}

/// The result of one target.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Compared {
    /// The name of a gateway's route, or the target.
    pub name: String,
    /// The figures in which this target is among the best: no other target is better, and some other target is worse
    /// by more than the figure differs between rounds.
    pub best: Vec<Figure>,
    /// The load on this target, as `load` reports it. Its times exclude the rounds of the other targets.
    pub load: LoadResult,
}

/// The figures of one round of a target. Their variance between rounds is the noise of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Round {
    calls_per_second: f64,
    p50: f64,
    p99: f64,
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
    /// Calls of the busiest pod over those of the least loaded pod: less is better. A single pod has no skew.
    Skew,
    /// Median latency: less is better.
    P50,
    /// 99th percentile of the latency: less is better.
    P99,
}

// === impl Comparison ===

impl Comparison {
    /// Compares the results, each with its name and its rounds.
    pub fn new(rounds: u32, results: Vec<(String, LoadResult, Vec<Round>)>) -> Self {
        let best: Vec<_> = Figure::ALL
            .map(|figure| {
                let of = |(_, load, rounds): &(String, LoadResult, Vec<Round>)| {
                    figure.of(load).map(|value| (value, figure.noise(rounds)))
                };
                (figure, figure.best_of(&results.iter().map(of).collect::<Vec<_>>()))
            })
            .into();
        let compared = |(index, (name, load, _))| {
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
    /// All figures, in the order in which a table shows them.
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

    /// Returns the difference of this figure between rounds that counts as noise.
    fn noise(self, rounds: &[Round]) -> f64 {
        let values: Vec<_> = rounds.iter().filter_map(|round| self.of_round(round)).collect();
        if values.len() < 2 {
            return 0.0;
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        NOISE * (squares / (values.len() - 1) as f64).sqrt()
    }

    fn of_round(self, round: &Round) -> Option<f64> {
        match self {
            Self::CallsPerSecond => Some(round.calls_per_second),
            Self::P50 => Some(round.p50),
            Self::P99 => Some(round.p99),
            Self::Failed | Self::Pods | Self::Skew => None,
        }
    }

    /// Returns the indices of the best figures, each given with its noise; empty if all are equally good.
    fn best_of(self, figures: &[Option<(f64, f64)>]) -> Vec<usize> {
        let more_is_better = matches!(self, Self::CallsPerSecond | Self::Pods);
        let better = |a: f64, b: f64| if more_is_better { a >= b } else { a <= b };
        let known = figures.iter().copied().flatten();
        let best = known.reduce(|a, b| if better(a.0, b.0) { a } else { b });
        let Some((best, noise)) = best else { return Vec::new() };
        let ties = |(figure, own): (f64, f64)| {
            figure == best || (figure - best).abs() <= (TIE * best.abs()).max(noise).max(own)
        };
        let winners: Vec<_> = (0..figures.len()).filter(|index| figures[*index].is_some_and(ties)).collect();
        if winners.len() == figures.len() { Vec::new() } else { winners }
    }
}

// === impl Round ===

impl Round {
    /// Computes the figures of a round that took `elapsed`.
    pub fn new(tally: &Tally, elapsed: Duration) -> Self {
        Self {
            calls_per_second: tally.calls() as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE),
            p50: tally.latency.percentile(50.0).as_secs_f64(),
            p99: tally.latency.percentile(99.0).as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_figures_are_marked_unless_all_are_equal() {
        use Figure::{CallsPerSecond, Failed, P99, Pods, Skew};
        let exact = |figures: &[Option<f64>]| -> Vec<_> {
            figures.iter().map(|figure| figure.map(|figure| (figure, 0.0))).collect()
        };
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
            assert_eq!(figure.best_of(&exact(figures)), best, "{figure:?} {figures:?}");
        }
    }

    #[test]
    fn difference_within_the_noise_of_the_rounds_is_a_tie() {
        for (noise, best) in [(0.05, &[0][..]), (0.15, &[])] {
            assert_eq!(Figure::P50.best_of(&[Some((1.0, noise)), Some((1.1, 0.0))]), best);
            assert_eq!(Figure::P50.best_of(&[Some((1.0, 0.0)), Some((1.1, noise))]), best);
        }
        let round = |p50| Round { calls_per_second: 100.0, p50, p99: 2.0 };
        assert_eq!(Figure::P50.noise(&[round(1.0), round(2.0), round(3.0)]), 2.0);
        assert_eq!(Figure::P50.noise(&[round(1.0)]), 0.0);
        assert_eq!(Figure::Pods.noise(&[round(1.0), round(2.0)]), 0.0);
    }
}
