//! Limits and outcomes of expectations.

use super::*;
use crate::tally::Sample;

#[test]
fn limits_are_parsed_or_rejected() {
    assert_eq!("0".parse(), Ok(MaxErrors::Count(0)));
    assert_eq!("0.1%".parse(), Ok(MaxErrors::Percent(0.1)));
    for wrong in ["", "%", "-1", "101%", "few", "1.5", "nan%"] {
        assert!(wrong.parse::<MaxErrors>().is_err(), "{wrong}");
    }
    assert_eq!(skew("1.05"), Ok(1.05));
    for wrong in ["0.9", "", "nan", "even"] {
        assert!(skew(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn error_share_is_relative_to_all_calls() {
    for (limit, failed, calls, allowed) in [
        (MaxErrors::Count(1), 1, 10, true),
        (MaxErrors::Count(1), 2, 10, false),
        (MaxErrors::Percent(10.0), 1, 10, true),
        (MaxErrors::Percent(10.0), 2, 10, false),
        (MaxErrors::Percent(0.0), 0, 0, true),
    ] {
        assert_eq!(limit.allows(failed, calls), allowed, "{limit} {failed}/{calls}");
    }
}

const PLAN: Plan = Plan { calls: Some(10), duration: None, rate: None, timeout: Duration::from_secs(1) };

fn run(succeeded: u64) -> Run {
    let mut run = Run { elapsed: Duration::from_secs(1), ..Run::default() };
    for _ in 0..succeeded {
        run.tally.record(Sample {
            at: Duration::from_millis(1),
            late: Duration::ZERO,
            latency: Duration::from_millis(1),
            pod: None,
            error: None,
            ..Sample::default()
        });
    }
    run
}

fn outcomes(expectations: &Expectations, run: &Run) -> Vec<(&'static str, bool)> {
    let checked = expectations.check(&PLAN, run, &Balance::of(&run.tally));
    checked.iter().map(|one| (one.expectation, one.held)).collect()
}

#[test]
fn no_answer_meets_no_expectation_about_answers() {
    let second = Some(Duration::from_secs(1));
    let all = Expectations {
        expect_pods: Some(3),
        max_skew: Some(1.1),
        max_errors: Some(MaxErrors::Count(0)),
        max_p50: second,
        max_p95: second,
        max_p99: second,
        min_rate: Some(0.001),
    };
    let run = run(0);
    assert_eq!(
        outcomes(&all, &run),
        [
            ("expect-pods", false),
            ("max-skew", false),
            ("max-errors", true),
            ("max-p50", false),
            ("max-p95", false),
            ("max-p99", false),
            ("min-rate", false)
        ]
    );
    let checked = all.check(&PLAN, &run, &Balance::of(&run.tally));
    assert_eq!(checked[0].detail, "0 pods answered, 3 expected");
}

#[test]
fn calls_that_were_never_made_count_as_errors() {
    let mut run = run(8);
    run.unsent = 2;
    for (limit, held) in [
        (MaxErrors::Count(1), false),
        (MaxErrors::Count(2), true),
        (MaxErrors::Percent(19.0), false),
        (MaxErrors::Percent(20.0), true),
    ] {
        let expectations = Expectations { max_errors: Some(limit), ..Expectations::default() };
        assert_eq!(outcomes(&expectations, &run), [("max-errors", held)], "{limit}");
    }
}

#[test]
fn rate_is_of_calls_that_succeed() {
    for (min_rate, held) in [(8.0, true), (8.5, false)] {
        let expectations = Expectations { min_rate: Some(min_rate), ..Expectations::default() };
        assert_eq!(outcomes(&expectations, &run(8)), [("min-rate", held)]);
    }
}

#[test]
fn expectations_of_an_interrupted_load_hold_only_so_far() {
    let expectations = Expectations { max_errors: Some(MaxErrors::Count(0)), ..Expectations::default() };
    for (stopped, outcome) in [(false, "held"), (true, "held so far")] {
        let run = Run { stopped, ..run(8) };
        let checked = expectations.check(&PLAN, &run, &Balance::of(&run.tally));
        assert_eq!((checked[0].partial, checked[0].outcome()), (stopped, outcome));
    }
}
