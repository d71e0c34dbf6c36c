//! The engine in paused time, where every latency is known to the nanosecond.

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kubetester::engine::{Call, Outcome, Plan, Progress, Run, resume, run};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Calls that take 1 ms, 2 ms and so on, in a shuffled order, answered by the pods in turn.
#[derive(Clone, Default)]
struct Known(Arc<AtomicU64>);

impl Call for Known {
    async fn call(&mut self) -> Outcome {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        // 7 and 1000 are coprime, so every number from 1 to 1000 occurs once.
        sleep(Duration::from_millis(number * 7 % 1000 + 1)).await;
        Outcome {
            pod: Some(format!("pod-{}", number % 4)),
            error: (number % 10 == 9).then(|| "tenth".into()),
            ..Outcome::default()
        }
    }
}

/// Calls that never end.
struct Hanging;

impl Call for Hanging {
    async fn call(&mut self) -> Outcome {
        std::future::pending().await
    }
}

const PLAN: Plan = Plan { calls: None, duration: None, rate: None, timeout: Duration::from_secs(5) };

async fn made<C: Call>(plan: Plan, callers: Vec<C>) -> Run {
    run(&plan, callers, &CancellationToken::new(), &Progress::default()).await.0
}

#[tokio::test(start_paused = true)]
async fn percentiles_and_counts_match_the_known_latencies() {
    let known = Known::default();
    let Run { tally, .. } = made(Plan { calls: Some(1000), ..PLAN }, vec![known.clone(); 7]).await;
    assert_eq!((tally.calls(), tally.succeeded, tally.failed(), tally.unnamed), (1000, 900, 100, 0));
    assert_eq!(tally.errors["tenth"], 100);
    assert_eq!(known.0.load(Ordering::Relaxed), 1000, "not a call more");
    // Calls 9, 19, … fail and take 64 ms, 134 ms, …. The latencies of the successful calls are computed here.
    let mut truth: Vec<u64> = (0..1000).filter(|n| n % 10 != 9).map(|n| n * 7 % 1000 + 1).collect();
    truth.sort_unstable();
    for percent in [1.0, 50.0, 75.0, 90.0, 99.0, 99.9] {
        let rank = (percent / 100.0 * truth.len() as f64).ceil() as usize;
        let expected = truth[rank - 1] as f64 / 1e3;
        let ours = tally.latency.percentile(percent).as_secs_f64();
        assert!((ours / expected - 1.0).abs() <= 0.001, "p{percent} is {expected}, not {ours}");
    }
    let mean = truth.iter().sum::<u64>() as f64 / truth.len() as f64 / 1e3;
    assert!((tally.latency.mean().as_secs_f64() / mean - 1.0).abs() <= 0.001);
    for pod in 0..4u64 {
        let named = &tally.pods[&format!("pod-{pod}")];
        let numbers = (0..1000u64).filter(|n| n % 4 == pod);
        assert_eq!(named.calls, numbers.clone().filter(|n| n % 10 != 9).count() as u64);
        assert_eq!(named.errors, numbers.filter(|n| n % 10 == 9).count() as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn duration_ends_the_load_after_calls_in_flight() {
    let plan = Plan { duration: Some(Duration::from_secs(3)), ..PLAN };
    let Run { tally, elapsed, .. } = made(plan, vec![Known::default(); 3]).await;
    assert!(elapsed >= Duration::from_secs(3) && elapsed <= Duration::from_secs(4), "{elapsed:?}");
    assert!(tally.calls() > 3);
}

#[tokio::test(start_paused = true)]
async fn hanging_call_times_out() {
    let Run { tally, elapsed, .. } = made(Plan { calls: Some(4), ..PLAN }, vec![Hanging, Hanging]).await;
    assert_eq!(tally.errors["no answer within 5s"], 4);
    assert_eq!(elapsed, Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn stop_waits_for_calls_in_flight_and_returns_callers() {
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        sleep(Duration::from_millis(2500)).await;
        cancel.cancel();
    });
    let (Run { tally, elapsed, .. }, callers) =
        run(&PLAN, vec![Known::default(); 5], &stop, &Progress::default()).await;
    assert!(elapsed >= Duration::from_millis(2500) && elapsed <= Duration::from_millis(3500), "{elapsed:?}");
    assert_eq!(callers.len(), 5);
    assert!(tally.calls() > 5);
}

#[tokio::test]
async fn calls_that_never_wait_can_be_stopped() {
    struct Instantly;
    impl Call for Instantly {
        async fn call(&mut self) -> Outcome {
            Outcome { error: Some("at once".into()), ..Outcome::default() }
        }
    }
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move { cancel.cancel() });
    let (Run { tally, .. }, _) = run(&PLAN, vec![Instantly], &stop, &Progress::default()).await;
    assert_eq!(tally.succeeded, 0);
}

/// Runs in real time, because a sleeping thread releases the calls of an open loop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_loop_latency_is_measured_from_the_due_time() {
    /// A caller that is blocked for the first 200 ms.
    struct Stalled(bool);
    impl Call for Stalled {
        async fn call(&mut self) -> Outcome {
            if !std::mem::replace(&mut self.0, true) {
                sleep(Duration::from_millis(200)).await;
            }
            Outcome::default()
        }
    }
    let plan = Plan { rate: Some(1000.0), duration: Some(Duration::from_millis(500)), ..PLAN };
    let Run { tally, unsent, .. } = made(plan, vec![Stalled(false)]).await;
    assert_eq!((tally.calls(), unsent), (500, 0), "a second has a thousand calls, half a second half");
    // The calls due at 0, 1, 2 … 100 ms waited 200, 199, 198 … 100 ms: a fifth of all.
    assert!(
        tally.latency.percentile(80.0) >= Duration::from_millis(100),
        "{:?}",
        tally.latency.percentile(80.0)
    );
    assert!(tally.latency.max() >= Duration::from_millis(200));
    assert!(tally.lateness.late >= 150, "{:?}", tally.lateness);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_never_made_are_counted_as_unsent() {
    let plan = Plan {
        rate: Some(100.0),
        duration: Some(Duration::from_millis(500)),
        timeout: Duration::from_millis(300),
        ..PLAN
    };
    let Run { tally, unsent, .. } = made(plan, vec![Hanging]).await;
    assert_eq!(tally.calls() + unsent, 50, "{tally:?}");
    assert!((2..=4).contains(&tally.calls()), "{}", tally.calls());
}

#[test]
fn parts_of_a_plan_add_up() {
    for (calls, parts) in [(10, 3), (3, 3), (7, 1), (u64::MAX, 7)] {
        let plan = Plan { calls: Some(calls), duration: Some(Duration::from_secs(9)), ..PLAN };
        let shares: Vec<_> = (0..parts).map(|part| plan.part(part, parts).calls.unwrap()).collect();
        assert_eq!(shares.iter().map(|calls| u128::from(*calls)).sum::<u128>(), u128::from(calls));
        assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1, "{shares:?}");
        assert_eq!(plan.part(0, parts).duration, Some(Duration::from_secs(9) / parts));
    }
    assert_eq!(PLAN.part(2, 3), PLAN, "what has no end has none in parts");
}

#[tokio::test(start_paused = true)]
async fn resumed_run_excludes_the_pause() {
    let known = Known::default();
    let mut whole = Run::default();
    for _ in 0..2 {
        // The first and only caller, so that the times add up: 1, 8, 15 ms, then 22, 29, 36 ms.
        let plan = Plan { calls: Some(3), ..PLAN };
        let (stop, progress) = (CancellationToken::new(), Progress::default());
        (whole, _) = resume(whole, &plan, vec![known.clone()], &stop, &progress).await;
        sleep(Duration::from_secs(60)).await;
    }
    assert_eq!((whole.tally.calls(), whole.elapsed), (6, Duration::from_millis(111)));
    let pod =
        |name| (whole.tally.pods[name].first_at.as_millis(), whole.tally.pods[name].last_at.as_millis());
    assert_eq!([pod("pod-0"), pod("pod-1"), pod("pod-3")], [(1, 75), (9, 111), (46, 46)]);
    // In intervals of 1/512 s.
    let ended: Vec<_> = whole.tally.series.intervals().iter().map(|one| one.latency.count()).collect();
    let when: Vec<_> = (0..ended.len()).filter(|number| ended[*number] > 0).collect();
    assert_eq!(when, [1, 9, 24, 46, 75, 111].map(|millis| millis * 512 / 1000));
}
