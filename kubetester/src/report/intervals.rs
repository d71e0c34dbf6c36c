//! Time, cut into spans: the intervals of a series, up to the end of the load.

/// A rest of an interval that is shorter than this share of it belongs to the one before: a rate needs time.
const SHORT: f64 = 0.25;

/// The spans of a load, from its start to its end without a gap.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Intervals {
    /// Where they begin, in seconds, and where the last one ends.
    bounds: Vec<f64>,
}

// === impl Intervals ===

impl Intervals {
    /// Returns the intervals of a load that took `elapsed` seconds.
    pub(super) fn new(width: f64, elapsed: f64) -> Self {
        let count = (elapsed / width).ceil() as usize;
        let mut bounds: Vec<f64> = (0..count).map(|number| number as f64 * width).collect();
        if bounds.len() > 1 && elapsed - bounds[count - 1] < width * SHORT {
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

    /// From when to when each lasts.
    pub(super) fn iter(&self) -> impl Iterator<Item = (f64, f64)> {
        self.bounds.windows(2).map(|two| (two[0], two[1]))
    }

    /// Counts a second, in each span; of counts in intervals, of which there may be fewer, or one more.
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
    fn a_rate_is_of_the_time_that_there_was() {
        for (elapsed, counts, rates) in [
            (2.0, &[10, 20][..], &[10.0, 20.0][..]),
            // The last interval was cut in half.
            (1.5, &[10, 10], &[10.0, 20.0]),
            // It hardly began.
            (2.25 - 0.001, &[10, 20, 4], &[10.0, 24.0 / 1.249]),
            // Nothing ended at the end.
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
