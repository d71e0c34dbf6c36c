//! Divides the time of a load into the intervals of its series.

/// The minimum length of the last interval, as a share of the width. A shorter rest is added to the previous interval,
/// because a rate over a very short time is meaningless.
const MIN_WIDTH: f64 = 0.25;

/// The intervals of a load, from its start to its end without a gap.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Intervals {
    /// The start of each interval and the end of the last, in seconds.
    bounds: Vec<f64>,
}

// === impl Intervals ===

impl Intervals {
    /// Returns the intervals of a load that took `elapsed` seconds.
    pub(super) fn new(width: f64, elapsed: f64) -> Self {
        let count = (elapsed / width).ceil() as usize;
        let mut bounds: Vec<f64> = (0..count).map(|number| number as f64 * width).collect();
        if bounds.len() > 1 && elapsed - bounds[count - 1] < width * MIN_WIDTH {
            bounds.pop();
        }
        if count > 0 {
            bounds.push(elapsed);
        }
        Self { bounds }
    }

    pub(super) fn len(&self) -> usize {
        self.bounds.len().saturating_sub(1)
    }

    /// Returns the start and end of each interval.
    pub(super) fn iter(&self) -> impl Iterator<Item = (f64, f64)> {
        self.bounds.windows(2).map(|two| (two[0], two[1]))
    }

    /// Returns the counts per second in each interval. `counts` may have fewer items than there are intervals, or one
    /// more.
    pub(super) fn rates(&self, counts: &[u64]) -> Vec<f64> {
        let last = self.len().saturating_sub(1);
        let rate = |(number, (from, to)): (usize, (f64, f64))| {
            let until = if number == last { counts.len() } else { number + 1 };
            let calls: u64 = counts.get(number..until).unwrap_or_default().iter().sum();
            calls as f64 / (to - from)
        };
        self.iter().enumerate().map(rate).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_relative_to_the_length_of_the_interval() {
        for (elapsed, counts, rates) in [
            (2.0, &[10, 20][..], &[10.0, 20.0][..]),
            // The load ended in the middle of the last interval.
            (1.5, &[10, 10], &[10.0, 20.0]),
            // The last interval is too short and is added to the previous one.
            (2.25 - 0.001, &[10, 20, 4], &[10.0, 24.0 / 1.249]),
            // No call ended in the last intervals.
            (3.0, &[10], &[10.0, 0.0, 0.0]),
            (0.5, &[10], &[20.0]),
            (1.0, &[], &[0.0]),
            (0.0, &[], &[]),
        ] {
            let spans = Intervals::new(1.0, elapsed);
            assert_eq!(spans.rates(counts), rates, "{elapsed}");
            assert_eq!(spans.len(), rates.len());
            assert!(spans.iter().last().is_none_or(|(_, end)| end == elapsed));
        }
    }
}
