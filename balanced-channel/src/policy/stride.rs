//! Weighted round robin without a lock: a static stride schedule.
//!
//! In each round, every item has one turn, in order, and takes or skips it. The heaviest item takes all of its turns,
//! an item of half that weight takes every second one, and so on. The number of a turn alone decides whether it is
//! taken, so that callers share nothing but a counter.

use std::sync::atomic::{AtomicU64, Ordering};

/// The weight of the heaviest item.
const FULL: u64 = u16::MAX as u64;
/// The offset between the schedules of neighbouring items, so that items of equal weight do not all skip the same
/// round. It is the golden section of [`FULL`], which spreads any number of items evenly.
const PHASE: u64 = 40_503;

/// Selects items in proportion to their weights.
#[derive(Debug)]
pub(super) struct Stride {
    /// The weights, scaled so that the heaviest is [`FULL`].
    weights: Vec<u16>,
}

// === impl Stride ===

impl Stride {
    /// Creates a schedule in proportion to `weights`; `None` if they are equal, as plain round robin then suffices.
    pub(super) fn new(weights: &[f64]) -> Option<Self> {
        let heaviest = weights.iter().copied().fold(0.0, f64::max);
        if weights.iter().all(|weight| *weight == heaviest) {
            return None;
        }
        // An item of weight 0 would never be selected.
        let scale = |weight: &f64| (weight / heaviest * FULL as f64).round().max(1.0) as u16;
        Some(Self { weights: weights.iter().map(scale).collect() })
    }

    /// Returns the next item. `turn` counts the turns of all callers.
    pub(super) fn next(&self, turn: &AtomicU64) -> usize {
        let items = self.weights.len() as u64;
        loop {
            let turn = turn.fetch_add(1, Ordering::Relaxed);
            let (round, item) = (turn / items, turn % items);
            let weight = u64::from(self.weights[item as usize]);
            // An item takes its turn in each round in which its accumulated weight passes a multiple of FULL.
            let earned = weight.wrapping_mul(round % FULL) + item.wrapping_mul(PHASE) % FULL;
            if earned % FULL < weight {
                return item as usize;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count(weights: &[f64], picks: usize, turn: u64) -> Vec<usize> {
        let stride = Stride::new(weights).unwrap();
        let turn = AtomicU64::new(turn);
        let mut counts = vec![0; weights.len()];
        for _ in 0..picks {
            counts[stride.next(&turn)] += 1;
        }
        counts
    }

    #[test]
    fn turns_are_proportional_to_the_weights() {
        assert_eq!(count(&[1.0, 2.0, 4.0], 7000, 0), [1000, 2000, 4000]);
        assert_eq!(count(&[0.3, 0.3, 0.6], 4000, 0), [1000, 1000, 2000]);
    }

    /// The number of turns per pick is the only cost of a pick that depends on the weights.
    #[test]
    fn pick_among_1000_items_takes_at_most_twice_the_turns_of_3() {
        let turns_of = |items: usize| {
            let weights: Vec<f64> = (0..items).map(|item| 1.0 - (item % 3) as f64 / 4.0).collect();
            let (stride, turn) = (Stride::new(&weights).unwrap(), AtomicU64::new(12_345));
            (0..2000).for_each(|_| _ = stride.next(&turn));
            turn.load(Ordering::Relaxed) - 12_345
        };
        let (few, many) = (turns_of(3), turns_of(1000));
        assert!(few >= 2000 && many <= 2 * few, "{few} turns among 3 items, {many} among 1000");
    }

    #[test]
    fn equal_weights_need_no_schedule() {
        assert!(Stride::new(&[3.0; 5]).is_none());
        assert!(Stride::new(&[]).is_none());
        assert!(Stride::new(&[0.0]).is_none());
    }

    #[test]
    fn turns_are_spread_evenly_over_time() {
        // Any 30 picks with the weights [2, 1] are 20 and 10, within one.
        let stride = Stride::new(&[2.0, 1.0]).unwrap();
        let turn = AtomicU64::new(12_345);
        for _ in 0..100 {
            let light = (0..30).filter(|_| stride.next(&turn) == 1).count();
            assert!((9..=11).contains(&light), "{light}");
        }
    }

    proptest! {
        #[test]
        fn any_weight_gets_its_share(
            weights in prop::collection::vec(0.1_f64..=1.0, 2..20),
            turn in 0..u64::MAX / 2,
        ) {
            prop_assume!(Stride::new(&weights).is_some());
            let total: f64 = weights.iter().sum();
            for (count, weight) in count(&weights, 4000, turn).iter().zip(&weights) {
                let share = weight / total * 4000.0;
                prop_assert!((*count as f64 - share).abs() < share * 0.01 + 3.0, "{count}, not {share}");
            }
        }
    }
}
