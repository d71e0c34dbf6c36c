//! Tests that no pick allocates memory, for every policy and several numbers of endpoints.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName};

use super::{TestSubchannels, end_with_report, index};
use crate::policy::{
    LeastRequest, PickArgs, PickFirst, Picker, Policy, RingHash, SlowStart, WeightedRoundRobin,
};

const KEY: HeaderName = HeaderName::from_static("x-key");
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

fn picks(picker: &dyn Picker, headers: &HeaderMap) {
    for _ in 0..PICKS {
        assert!(std::hint::black_box(picker.pick(&PickArgs { headers })).is_some());
    }
}

#[tokio::test]
async fn pick_allocates_no_memory() {
    let headers: HeaderMap = [(KEY, "value".parse().unwrap())].into_iter().collect();
    for endpoints in [1, 3, 1000] {
        let subchannels = TestSubchannels::new(endpoints).await;
        for (name, policy) in policies() {
            let mut policy = policy.build(&Arc::default());
            let picker = policy.picker(subchannels.ready());
            for _ in 0..endpoints {
                let pick = picker.pick(&PickArgs { headers: &headers }).unwrap();
                if pick.on_done.is_some() {
                    // Reports utilizations from 0.5 to 1, so that the weights differ.
                    end_with_report(&pick, 100.0, 1.0 - (index(&pick) % 3) as f64 / 4.0);
                }
            }
            let picker = policy.picker(subchannels.ready());
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
