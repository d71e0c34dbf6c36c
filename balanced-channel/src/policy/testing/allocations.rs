//! A pick allocates nothing, however many endpoints there are.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName};

use super::TestSubchannels;
use crate::policy::{
    LeastRequest, PickArgs, PickFirst, Picker, Policy, RingHash, SlowStart, WeightedRoundRobin,
};

const KEY: HeaderName = HeaderName::from_static("x-key");
/// The number of picks that are measured together.
const PICKS: u32 = 2000;

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
