//! Scales: maps values to positions on an axis and chooses the ticks.

/// A mapping of values to positions from 0 to 1 on an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// A linear axis from zero to a value.
    Linear(f64),
    /// A logarithmic axis between two values.
    Logarithmic(f64, f64),
}

/// The steps between ticks of a long time axis, in seconds.
const LONG_STEPS: [f64; 9] = [30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21_600.0];

// === impl Scale ===

impl Scale {
    /// Returns a linear scale from zero to a tick that is at least `most`.
    pub(super) fn up_to(most: f64, ticks: usize) -> Self {
        let step = nice_above(most / ticks as f64);
        Self::Linear(if most > 0.0 { (most / step - 1e-9).ceil() * step } else { 1.0 })
    }

    /// Returns a scale for latencies from `least` to `most`, ending at ticks.
    pub(super) fn around(least: f64, most: f64) -> Self {
        let least = least.max(1e-7);
        let (from, to) = (nice_below(least * 1.000_001), nice_above(most.max(least) * 0.999_999));
        if from < to { Self::Logarithmic(from, to) } else { Self::Logarithmic(from, nice_above(from * 1.5)) }
    }

    /// Returns the position of a value, clamped to the ends of the axis.
    pub(super) fn place(self, value: f64) -> f64 {
        let place = match self {
            Self::Linear(to) => value / to,
            Self::Logarithmic(from, to) => (value / from).ln() / (to / from).ln(),
        };
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Returns the position of a value in percent, rounded to a tenth.
    pub(super) fn percent(self, value: f64) -> f64 {
        tenth(100.0 * self.place(value))
    }

    /// Returns round values for ticks, at most about `most`.
    pub(super) fn ticks(self, most: usize) -> Vec<f64> {
        match self {
            Self::Linear(to) => steps(to, nice_above(to / most as f64 * 0.999_999)),
            Self::Logarithmic(from, to) => {
                let sets =
                    [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]].map(|multiples| powers(from, to, multiples));
                let fits = |ticks: &Vec<f64>| ticks.len() <= most;
                let [.., few] = &sets;
                sets.iter().find(|ticks| fits(ticks)).cloned().unwrap_or_else(|| thinned(few, most))
            }
        }
    }

    /// Returns round times for ticks, at most about `most`.
    pub(super) fn time_ticks(self, most: usize) -> Vec<f64> {
        let Self::Linear(to) = self else { return self.ticks(most) };
        let at_least = to / most as f64 * 0.999_999;
        let long = LONG_STEPS.into_iter().find(|step| *step >= at_least);
        steps(
            to,
            if at_least > 20.0 { long.unwrap_or_else(|| nice_above(at_least)) } else { nice_above(at_least) },
        )
    }
}

/// Rounds to a tenth, which is precise enough and keeps the page small.
pub(super) fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn steps(to: f64, step: f64) -> Vec<f64> {
    (0..=(to / step + 1e-9) as usize).map(|number| number as f64 * step).collect()
}

/// Returns the given multiples of all powers of ten between two values.
fn powers(from: f64, to: f64, multiples: &[f64]) -> Vec<f64> {
    let decades = from.log10().floor() as i32..=to.log10().ceil() as i32;
    let all = decades.flat_map(|decade| multiples.iter().map(move |multiple| multiple * 10_f64.powi(decade)));
    all.filter(|value| (from * 0.999..=to * 1.001).contains(value)).collect()
}

fn thinned(values: &[f64], most: usize) -> Vec<f64> {
    values.iter().copied().step_by(values.len().div_ceil(most).max(1)).collect()
}

/// Returns the smallest number of the form 1, 2 or 5 times a power of ten that is at least `value`.
fn nice_above(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powi(value.log10().floor() as i32);
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|multiple| multiple * power)
        .find(|nice| *nice >= value)
        .unwrap_or(value)
}

/// Returns the largest number of the form 1, 2 or 5 times a power of ten that is at most `value`.
fn nice_below(value: f64) -> f64 {
    let power = 10_f64.powi(value.log10().floor() as i32);
    [5.0, 2.0, 1.0].into_iter().map(|multiple| multiple * power).find(|nice| *nice <= value).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(seen: &[f64], expected: &[f64]) {
        let same = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-9 * b.abs();
        assert!(seen.len() == expected.len() && seen.iter().zip(expected).all(same), "{seen:?} {expected:?}");
    }

    #[test]
    fn ticks_are_round_and_few() {
        near(&Scale::up_to(17_300.0, 4).ticks(4), &[0.0, 5e3, 10e3, 15e3, 20e3]);
        near(&Scale::up_to(20_000.0, 4).ticks(4), &[0.0, 5e3, 10e3, 15e3, 20e3]);
        near(&Scale::up_to(0.0, 4).ticks(4), &[0.0, 0.5, 1.0]);
        near(&Scale::around(105e-6, 4.8e-3).ticks(6), &[100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3]);
        near(&Scale::around(2e-3, 0.1).ticks(6), &[2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1]);
        near(&Scale::around(500e-6, 0.1).ticks(6), &[1e-3, 3e-3, 0.01, 0.03, 0.1]);
        near(&Scale::around(20e-6, 3.0).ticks(6), &[100e-6, 1e-3, 10e-3, 0.1, 1.0]);
        near(&Scale::Linear(9.7).time_ticks(6), &[0.0, 2.0, 4.0, 6.0, 8.0]);
        near(&Scale::Linear(600.0).time_ticks(6), &[0.0, 120.0, 240.0, 360.0, 480.0, 600.0]);
        near(&Scale::Linear(0.189).time_ticks(6), &[0.0, 0.05, 0.1, 0.15]);
    }

    #[test]
    fn every_value_is_placed_on_the_axis() {
        for scale in [
            Scale::up_to(10.0, 4),
            Scale::up_to(0.0, 4),
            Scale::around(1e-3, 1e-3),
            Scale::around(0.0, 0.0),
            Scale::around(1e-6, 3e3),
        ] {
            for value in [0.0, 1e-9, 1e-3, 1.0, 10.0, 1e9, f64::INFINITY, f64::NAN] {
                assert!((0.0..=1.0).contains(&scale.place(value)), "{scale:?} {value}");
            }
            assert!((1..=12).contains(&scale.ticks(6).len()), "{scale:?}");
        }
        assert_eq!(Scale::up_to(10.0, 4).place(5.0), 0.5);
        assert!((Scale::around(1e-3, 1e-1).place(1e-2) - 0.5).abs() < 1e-9);
    }
}
