use std::{collections::HashSet, time::Duration};

use super::*;
use crate::{
    conditions::EndpointState,
    tally::{Sample, Tally},
    target::Target,
};

const PLAN: Plan = Plan { calls: None, duration: None, rate: None, timeout: Duration::from_secs(1) };

/// Returns the tally of a number of calls to each pod. Calls to `""` name no pod; calls to `"!"` fail.
fn tally(calls: &[(&str, u64)]) -> Tally {
    let mut tally = Tally::default();
    for (pod, calls) in calls {
        for _ in 0..*calls {
            tally.record(Sample {
                at: Duration::from_millis(1),
                late: Duration::ZERO,
                latency: Duration::from_millis(1),
                pod: (!["", "!"].contains(pod)).then(|| (*pod).to_owned()),
                error: (*pod == "!").then(|| "refused".to_owned()),
                ..Sample::default()
            });
        }
    }
    tally
}

fn judged(conditions: &Conditions, plan: &Plan, run: &Run) -> Verdict {
    Verdict::new(conditions, plan, run, &Balance::of(&run.tally))
}

fn conditions(target: &str) -> Conditions {
    Conditions::new(target.parse::<Target>().unwrap(), 16)
}

fn of(conditions: &Conditions, calls: &[(&str, u64)]) -> Vec<Kind> {
    kinds(&judged(conditions, &PLAN, &Run { tally: tally(calls), ..Run::default() }))
}

fn kinds(verdict: &Verdict) -> Vec<Kind> {
    verdict.0.iter().map(|finding| finding.kind).collect()
}

#[test]
fn calls_have_the_verdict_of_their_spread() {
    for (target, calls, expected) in [
        ("dns:///svc:8000", &[("a", 34), ("b", 33), ("c", 33)][..], &[Kind::Even][..]),
        ("http://gw/", &[("a", 2000), ("b", 2120)], &[Kind::EvenOnAverage]),
        ("http://gw/", &[("a", 41), ("b", 30), ("c", 29)], &[Kind::TooFewCalls]),
        ("http://gw/", &[("a", 1), ("b", 2), ("c", 1)], &[Kind::TooFewCalls]),
        ("http://gw/", &[("a", 410), ("b", 300), ("c", 290)], &[Kind::Uneven]),
        ("http://gw/", &[("", 5)], &[Kind::NoPodNamed]),
        ("grpc://svc:8000", &[("", 5)], &[Kind::NoPodNamed]),
        ("http://gw/", &[("a", 400), ("b", 400), ("", 5)], &[Kind::Even, Kind::SomeUnnamed]),
        ("http://gw/", &[], &[Kind::NothingSucceeded]),
        ("http://gw/", &[("!", 5)], &[Kind::NothingSucceeded]),
        ("http://gw/", &[("a", 400), ("b", 400), ("!", 80)], &[Kind::Failures, Kind::Even]),
    ] {
        assert_eq!(of(&conditions(target), calls), expected, "{target} {calls:?}");
    }
}

#[test]
fn one_pod_has_only_causes_that_are_possible() {
    let endpoint = |address: &str, last_error: Option<&str>| EndpointState {
        address: address.to_owned(),
        ready: last_error.is_none(),
        last_error: last_error.map(str::to_owned),
    };
    let alive = || endpoint("10.0.0.1:80", None);
    let dead = || endpoint("10.0.0.2:80", Some("10.0.0.2:80: connection refused"));
    let balanced = |endpoints| Conditions { endpoints, ..conditions("dns:///svc:8000") };
    for (conditions, calls, expected) in [
        (conditions("grpc://svc:8000"), 1, &[Kind::OneConnection][..]),
        (conditions("grpc://svc:8000"), 100, &[Kind::OneConnection]),
        (Conditions { connections: 4, ..conditions("grpc://svc:8000") }, 100, &[Kind::OnePod]),
        (Conditions { pod_is_peer: true, ..conditions("grpc://svc:8000") }, 100, &[Kind::OnePeer]),
        (Conditions { pod_is_peer: true, ..conditions("http://nginx/") }, 100, &[Kind::OnePeer]),
        (conditions("http://10.0.0.1:8080/"), 100, &[Kind::OnePod]),
        (conditions("http://10.0.0.1:8080/"), 4, &[Kind::TooFewCalls]),
        (conditions("tonic:10.0.0.1:80"), 100, &[Kind::OneEndpoint]),
        (conditions("tonic:10.0.0.1:80,10.0.0.2:80"), 100, &[Kind::OnePod]),
        (balanced(vec![alive()]), 1, &[Kind::OneEndpoint]),
        (balanced(vec![alive(), dead()]), 1, &[Kind::OneReachable]),
        (balanced(vec![alive(), alive()]), 100, &[Kind::OnePod]),
    ] {
        assert_eq!(of(&conditions, &[("a", calls)]), expected, "{conditions:?}");
    }
    let spread = [("a", 500), ("b", 500)];
    let kinds = of(&balanced(vec![alive(), alive(), dead()]), &spread);
    assert_eq!(kinds, [Kind::Even, Kind::EndpointsUnreachable]);
    let verdict =
        judged(&balanced(vec![alive(), dead()]), &PLAN, &Run { tally: tally(&[("a", 9)]), ..Run::default() });
    assert!(
        verdict.to_string().contains("1 of 2 endpoints cannot be reached (10.0.0.2:80: connection refused)")
    );
}

#[test]
fn sentence_names_no_cause_of_another_kind_of_target() {
    let one = [("a", 1000)];
    let two = [("a", 1000), ("b", 500)];
    for (target, wrong) in [
        ("grpc://svc:8000", &["kept alive", "service config"][..]),
        ("http://gw/", &["endpoints", "--connections"]),
        ("dns:///svc:8000", &["ClusterIP", "kept alive", "behind this address"]),
        ("tonic:10.0.0.1:80,10.0.0.2:80", &["ClusterIP", "kept alive", "behind this address"]),
    ] {
        for calls in [&one[..], &two] {
            let run = Run { tally: tally(calls), ..Run::default() };
            let sentences = judged(&conditions(target), &PLAN, &run).to_string();
            assert!(!wrong.iter().any(|wrong| sentences.contains(wrong)), "{target}: {sentences}");
        }
    }
}

#[test]
fn failures_colour_the_verdict_and_come_first() {
    let run = Run { tally: tally(&[("a", 500), ("b", 500), ("!", 100)]), ..Run::default() };
    let verdict = judged(&conditions("http://gw/"), &PLAN, &run);
    assert_eq!((verdict.tone(), verdict.headline()), (Tone::Bad, "failures, even".to_owned()));
    assert!(verdict.to_string().starts_with("100 of 1 100 calls failed (9.1 %)"), "{verdict}");
    let run = Run { tally: tally(&[("a", 500), ("b", 500)]), ..Run::default() };
    let verdict = judged(&conditions("http://gw/"), &PLAN, &run);
    assert_eq!((verdict.tone(), verdict.headline()), (Tone::Good, "even".to_owned()));
}

#[test]
fn too_few_calls_come_with_the_number_that_is_enough() {
    let run = Run { tally: tally(&[("a", 1), ("b", 2), ("c", 1)]), ..Run::default() };
    let verdict = judged(&conditions("http://gw/"), &PLAN, &run);
    assert_eq!(
        verdict.to_string(),
        "too few calls to tell an even spread from a skewed one: 4 to 3 pods; it takes about 520"
    );
}

#[test]
fn interrupted_load_is_a_part_unless_it_has_no_end() {
    let run = || Run { tally: tally(&[("a", 500), ("b", 500)]), stopped: true, ..Run::default() };
    let plan = Plan { calls: Some(2000), ..PLAN };
    let verdict = judged(&conditions("http://gw/"), &plan, &run());
    assert_eq!(kinds(&verdict), [Kind::Interrupted, Kind::Even]);
    assert!(verdict.to_string().starts_with("interrupted after 1 000 of 2 000 calls; "), "{verdict}");
    assert_eq!(kinds(&judged(&conditions("http://gw/"), &PLAN, &run())), [Kind::Even]);
}

#[test]
fn rate_that_is_not_reached_comes_before_the_spread() {
    // One caller makes 1 001 calls in a second. Each takes the whole interval until the next call, or half of it.
    for (wanted, latency, unsent, expected) in [
        (1000.0, 1000, 0, None),
        (1020.0, 1000, 0, None),
        (2000.0, 1000, 0, Some("the target is at its limit")),
        (2000.0, 500, 0, Some("this program, or its machine")),
        (1000.0, 1000, 200, Some("the target is at its limit")),
    ] {
        let mut run = Run { elapsed: Duration::from_millis(1001), unsent, ..Run::default() };
        for number in 0..=1000_u64 {
            let latency = Duration::from_micros(latency);
            run.tally.record(Sample {
                at: Duration::from_millis(number) + latency,
                late: Duration::ZERO,
                latency,
                pod: Some(format!("pod-{}", number % 2)),
                error: None,
                ..Sample::default()
            });
        }
        let plan = Plan { rate: Some(wanted), ..PLAN };
        let conditions = Conditions { callers: 1, ..conditions("http://gw/") };
        let verdict = judged(&conditions, &plan, &run);
        match expected {
            None => assert_eq!(kinds(&verdict), [Kind::Even], "{wanted}"),
            Some(cause) => {
                assert_eq!(kinds(&verdict), [Kind::RateNotReached, Kind::Even], "{wanted}");
                assert!(verdict.to_string().contains(cause), "{verdict}");
            }
        }
    }
}

#[test]
fn pods_that_come_and_go_are_named_and_not_uneven() {
    // A rolling restart: one call per millisecond to three pods in turn, which are replaced one after the other.
    let mut tally = Tally::default();
    for number in 0..6000_u64 {
        let first = number / 1500;
        tally.record(Sample {
            at: Duration::from_millis(number),
            late: Duration::ZERO,
            latency: Duration::from_micros(100),
            pod: Some(format!("pod-{}", first + number % 3)),
            error: None,
            ..Sample::default()
        });
    }
    let verdict = judged(&conditions("dns:///svc:8000"), &PLAN, &Run { tally, ..Run::default() });
    assert_eq!(kinds(&verdict), [Kind::PodsChanged, Kind::Even], "{verdict}");
    let sentences = verdict.to_string();
    assert!(
        sentences.starts_with("pods came and went: pod-0 answered until 1.50 s, pod-3 answered from 1.50 s"),
        "{sentences}"
    );
}

#[test]
fn documentation_explains_every_kind_and_no_other() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/verdicts.md")).unwrap();
    let rows =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(kind, _)| kind));
    let kinds: Vec<_> = Kind::ALL.iter().map(Kind::to_string).collect();
    assert_eq!(rows.collect::<Vec<_>>(), kinds);
    assert_eq!(kinds.iter().collect::<HashSet<_>>().len(), kinds.len());
    for kind in Kind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.to_string());
    }
}
