//! What a pick costs: no allocation at all, and among 1 000 endpoints about what it does among 3, by
//! count and by the clock.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName};

use super::{TestSubchannels, looks};
use crate::policy::{
    LeastRequest, PickArgs, PickFirst, Picker, Policy, RingHash, SlowStart, WeightedRoundRobin,
};

const KEY: HeaderName = HeaderName::from_static("x-key");
/// How many picks are timed together.
const PICKS: u32 = 2000;
/// How many times.
const RUNS: u32 = if cfg!(debug_assertions) { 1 } else { 500 };

fn policies() -> [(&'static str, Policy); 6] {
    let slow = SlowStart::new(Duration::from_secs(1000));
    [
        ("round_robin", Policy::RoundRobin),
        ("pick_first", PickFirst::default().into()),
        ("least_request", LeastRequest::default().into()),
        ("least_request, slow start", LeastRequest::default().slow_start(slow).into()),
        ("weighted_round_robin", WeightedRoundRobin::default().blackout_period(Duration::ZERO).into()),
        ("ring_hash", RingHash::new(KEY).into()),
    ]
}

/// A stage whose endpoints report weights that differ by up to a half.
async fn subchannels(endpoints: usize) -> TestSubchannels {
    let subchannels = TestSubchannels::new(endpoints).await;
    (0..endpoints).for_each(|at| subchannels.report(at, 100.0, 1.0 - (at % 3) as f64 / 4.0));
    subchannels
}

fn picks(picker: &dyn Picker, headers: &HeaderMap) {
    for _ in 0..PICKS {
        assert!(std::hint::black_box(picker.pick(&PickArgs { headers })).is_some());
    }
}

#[tokio::test]
async fn no_pick_allocates() {
    let headers: HeaderMap = [(KEY, "value".parse().unwrap())].into_iter().collect();
    for endpoints in [1, 3, 1000] {
        let subchannels = subchannels(endpoints).await;
        for (name, policy) in policies() {
            let picker = policy.build(&Arc::default()).picker(subchannels.ready());
            picks(&*picker, &headers);
            let counted = allocation_counter::measure(|| picks(&*picker, &headers));
            assert_eq!(counted.count_total, 0, "{name} among {endpoints}");
        }
    }
    assert!(
        allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1)))).count_total > 0,
        "the counter counts"
    );
}

/// Counted, so that it holds on any machine and in any build. All else that a pick does is the same
/// for any pool.
#[tokio::test]
async fn a_pick_among_1000_looks_at_no_more_than_twice_what_one_among_3_does() {
    let headers: HeaderMap = [(KEY, "value".parse().unwrap())].into_iter().collect();
    fastrand::seed(7);
    for (name, policy) in policies() {
        let mut looks = [0, 0];
        for (looks, subchannels) in looks.iter_mut().zip([subchannels(3).await, subchannels(1000).await]) {
            let picker = policy.clone().build(&Arc::default()).picker(subchannels.ready());
            *looks = looks::of(|| picks(&*picker, &headers));
        }
        let [few, many] = looks;
        assert!(few >= u64::from(PICKS), "{name} counts its looks: {few}");
        assert!(many <= 2 * few, "{name} looks {few} times among 3, and {many} times among 1000");
    }
}

/// The same by the clock. Times are the best of many short runs, so that a busy machine does not
/// matter; only a release build says something about them, so only there is the ratio asserted.
#[tokio::test]
async fn a_pick_among_1000_costs_at_most_twice_one_among_3() {
    let headers: HeaderMap = [(KEY, "value".parse().unwrap())].into_iter().collect();
    let (few, many) = (subchannels(3).await, subchannels(1000).await);
    for (name, policy) in policies() {
        let pickers = [
            policy.clone().build(&Arc::default()).picker(few.ready()),
            policy.build(&Arc::default()).picker(many.ready()),
        ];
        let best = pickers.map(|picker| {
            let time = || {
                let began = tokio::time::Instant::now();
                picks(&*picker, &headers);
                began.elapsed()
            };
            (0..RUNS).map(|_| time()).min().unwrap_or_default().as_secs_f64() * 1e9 / f64::from(PICKS)
        });
        println!("{name}: {:.1} ns among 3, {:.1} ns among 1000", best[0], best[1]);
        assert!(cfg!(debug_assertions) || best[1] <= 2.0 * best[0], "{name}: {best:?} ns");
    }
}
