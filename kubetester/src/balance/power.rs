//! The power of the test: the number of calls that distinguishes an even spread from a skewed one.

use statrs::distribution::{ChiSquared, ContinuousCDF as _};
use statrs::function::gamma::ln_gamma;

/// The skew that a spread called even must not have: one pod takes this many times the calls of each other pod.
pub const SKEW: f64 = 1.5;

/// The confidence level of an even spread: a load with [`SKEW`] looks this even with at most this probability.
pub(super) const CONFIDENCE: f64 = 0.005;

/// The share of runs in which a fair random choice has to pass with [`calls_needed`] calls.
const PASS_RATE: f64 = 0.9;

/// The distance from the mean, in standard deviations, beyond which probabilities are treated as zero.
const CUTOFF: f64 = 7.0;

/// Returns the noncentrality that each call adds if one of `pods` takes [`SKEW`] times the calls of each other one.
pub(super) fn noncentrality(pods: usize) -> f64 {
    let pods = pods as f64;
    let whole = pods - 1.0 + SKEW;
    pods * (pods - 1.0 + SKEW * SKEW) / (whole * whole) - 1.0
}

/// Returns the number of calls to `pods` pods that usually shows that an even spread is not skewed, rounded up to two
/// digits.
pub fn calls_needed(pods: usize) -> u64 {
    let freedom = (pods.max(2) - 1) as f64;
    let fair = chi_squared(freedom).inverse_cdf(PASS_RATE);
    let (mut low, mut high) = (0.0, 1000.0 + 10.0 * freedom);
    while high - low > 0.01 {
        let middle = (low + high) / 2.0;
        if below(fair, freedom, middle) > CONFIDENCE {
            low = middle;
        } else {
            high = middle;
        }
    }
    two_digits((high / noncentrality(pods.max(2))).ceil())
}

/// Returns the probability that a noncentral chi-squared variable is at most `value`. The distribution is computed as a
/// Poisson mixture of central chi-squared distributions.
pub(super) fn below(value: f64, freedom: f64, noncentrality: f64) -> f64 {
    let mean = noncentrality / 2.0;
    if mean == 0.0 {
        return chi_squared(freedom).cdf(value);
    }
    let deviation = (2.0 * (freedom + 2.0 * noncentrality)).sqrt();
    if (freedom + noncentrality - value) / deviation > CUTOFF {
        return 0.0;
    }
    let width = CUTOFF * mean.sqrt() + CUTOFF;
    let (first, last) = ((mean - width).max(0.0) as u64, (mean + width) as u64);
    let term = |number: u64| {
        let number = number as f64;
        let weight = (number * mean.ln() - mean - ln_gamma(number + 1.0)).exp();
        weight * chi_squared(freedom + 2.0 * number).cdf(value)
    };
    let counts = |number: &u64| {
        let freedom = freedom + 2.0 * *number as f64;
        freedom - value <= CUTOFF * (2.0 * freedom).sqrt()
    };
    (first..=last).take_while(counts).map(term).sum()
}

/// Returns the probability that calls with [`SKEW`] are spread as evenly as whole numbers allow. The value is exact;
/// the chi-squared approximation is slightly conservative here.
pub(super) fn most_even(pods: usize, calls: u64) -> f64 {
    let (pods, calls) = (pods as f64, calls as f64);
    let each = (calls / pods).floor();
    // The number of pods that have one call more than the others.
    let more = calls - each * pods;
    let choose = |n: f64, k: f64| ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0);
    let ways = ln_gamma(calls + 1.0) - more * ln_gamma(each + 2.0) - (pods - more) * ln_gamma(each + 1.0);
    let (hot, other) = ((SKEW / (pods - 1.0 + SKEW)).ln(), (1.0 / (pods - 1.0 + SKEW)).ln());
    let with = |hot_calls: f64| ways + hot_calls * hot + (calls - hot_calls) * other;
    // The busy pod is among those with one call more, or among the others.
    let among = if more > 0.0 { (choose(pods - 1.0, more - 1.0) + with(each + 1.0)).exp() } else { 0.0 };
    among + (choose(pods - 1.0, more) + with(each)).exp()
}

/// Returns the chi-squared distribution with `freedom` degrees of freedom.
pub(super) fn chi_squared(freedom: f64) -> ChiSquared {
    ChiSquared::new(freedom.max(f64::MIN_POSITIVE)).expect("the degrees of freedom are positive and finite")
}

fn two_digits(number: f64) -> u64 {
    let unit = 10_f64.powf((number.log10().floor() - 1.0).max(0.0));
    ((number / unit).ceil() * unit) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected values are from scipy 1.17: `scipy.stats.ncx2.cdf(value, freedom, noncentrality)`.
    #[test]
    fn probabilities_match_scipy() {
        for (value, freedom, noncentrality, expected) in SCIPY {
            let ours = below(value, freedom, noncentrality);
            assert!((ours - expected).abs() <= 1e-9, "{value} {freedom} {noncentrality}: {ours}, {expected}");
        }
    }

    const SCIPY: [(f64, f64, f64, f64); 7] = [
        (0.0375, 2.0, 2.45, 0.005519350518184467),
        (4.6, 2.0, 20.0, 0.006416459874192172),
        (2.06, 2.0, 0.163, 0.6136114792777642),
        (62.0, 49.0, 54.5, 0.00415290008885858),
        (1.0, 1.0, 40000.0, 0.0),
        (700.0, 9.0, 600.0, 0.9645011092480136),
        (0.5, 1.0, 0.0001, 0.5204779087062661),
    ];

    #[test]
    fn most_even_spread_has_its_probability() {
        // By hand: 4! / (2! 2!) * 0.6^2 * 0.4^2, and 3 * (0.6^2 * 0.4 + 0.4^2 * 0.6).
        assert!((most_even(2, 4) - 0.3456).abs() < 1e-12);
        assert!((most_even(2, 3) - 0.72).abs() < 1e-12);
        // scipy 1.17: multinomial.pmf over the three orders of 34, 33 and 33 calls.
        assert!((most_even(3, 100) - MOST_EVEN).abs() < 1e-12, "{}", most_even(3, 100));
    }

    const MOST_EVEN: f64 = 0.003721712618699418;

    #[test]
    fn more_pods_need_more_calls() {
        // 445.4, 510.0, 744.6, 1501.7, 3406.8 and 11114.4 by scipy, rounded up.
        assert_eq!([2, 3, 5, 10, 20, 50].map(calls_needed), [450, 520, 750, 1600, 3500, 12_000]);
        assert_eq!([1.0, 9.0, 99.0, 101.0, 12_301.0].map(two_digits), [1, 9, 99, 110, 13_000]);
    }
}
