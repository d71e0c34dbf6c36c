//! The verdict: what the figures most likely mean, in a sentence or two.

use crate::{
    balance::{Balance, Spread},
    tally::Tally,
    target::Target,
};

/// In words, whether the calls were spread and, if not, why most likely not.
pub fn verdict(target: &Target, balance: &Balance, tally: &Tally) -> String {
    if tally.succeeded == 0 {
        return "no call succeeded, so nothing can be said about balance".to_owned();
    }
    let pods = balance.pods;
    let chance = balance.p_value.map(|p| format!("p = {}", figure(p))).unwrap_or_default();
    let said = match balance.spread() {
        Spread::Unknown => return unknown(target),
        Spread::OnePod => format!("one pod took every call: {}", why_one(target)),
        Spread::Even => format!("even: each of {pods} pods took its share"),
        Spread::Random => format!(
            "even on average: {pods} pods, no more uneven than dice would make it ({chance}); \
             a strict turn would be closer"
        ),
        Spread::Uneven => format!(
            "uneven: the busiest of {pods} pods took {} times the calls of the idlest, \
             and chance does not explain it ({chance}){}",
            figure(balance.skew),
            why_uneven(target),
        ),
    };
    match tally.unnamed {
        0 => said,
        unnamed => format!("{said}; {unnamed} answers did not name their pod and are not in this"),
    }
}

fn why_one(target: &Target) -> &'static str {
    match target {
        Target::Grpc(_) => {
            "one HTTP/2 connection through a virtual IP balances connections, not calls, \
             so the pod that took the connection takes them all"
        }
        Target::Http(_) => {
            "one HTTP/2 connection behind this address carries them all, as with pick_first, \
             or with plain gRPC through a ClusterIP, which balances connections, not calls \
             (unless there is only one pod, or one kept-alive connection)"
        }
        Target::Balanced(_) | Target::Tonic(_) => {
            "the name had one address, or only one could be connected to"
        }
    }
}

fn why_uneven(target: &Target) -> &'static str {
    match target {
        Target::Grpc(_) => {
            "; with a few connections through a virtual IP, each pod gets the calls of whole connections"
        }
        Target::Http(_) => {
            "; connections that are kept alive stay with their pod, \
             a pod may have come or gone meanwhile, or the balancer weighs by load"
        }
        Target::Balanced(_) | Target::Tonic(_) => {
            "; a pod came, went or failed meanwhile (see when each was first called)"
        }
    }
}

fn unknown(target: &Target) -> String {
    let hint = match target {
        Target::Http(_) => "--pod-from a JSON pointer, header:NAME or regex:EXPRESSION",
        Target::Grpc(_) | Target::Balanced(_) | Target::Tonic(_) => {
            "--pod-from a JSON pointer or header:NAME"
        }
    };
    format!("the answers do not name their pod; say where they do with {hint}")
}

/// Three digits, however small.
pub fn figure(number: f64) -> String {
    if number.is_infinite() {
        "infinitely many".to_owned()
    } else if number != 0.0 && number.abs() < 0.001 {
        format!("{number:.0e}")
    } else if number.abs() < 10.0 {
        format!("{number:.3}")
    } else {
        format!("{number:.1}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tally::Sample;

    fn said(target: &str, calls: &[(&str, u64)]) -> String {
        let mut tally = Tally::default();
        for (pod, calls) in calls {
            for _ in 0..*calls {
                tally.record(Sample {
                    at: Duration::ZERO,
                    late: Duration::ZERO,
                    latency: Duration::from_millis(1),
                    pod: (!pod.is_empty()).then(|| (*pod).to_owned()),
                    error: None,
                });
            }
        }
        verdict(&target.parse().unwrap(), &Balance::of(&tally), &tally)
    }

    #[test]
    fn says_what_it_most_likely_means() {
        for (target, calls, words) in [
            ("grpc://svc:8000", &[("a", 100)][..], "one HTTP/2 connection through a virtual IP"),
            ("http://gw/hellogrpc", &[("a", 100)], "one pod took every call: one HTTP/2 connection"),
            ("dns:///svc:8000", &[("a", 100)], "the name had one address"),
            ("dns:///svc:8000", &[("a", 34), ("b", 33), ("c", 33)], "even: each of 3 pods"),
            ("http://gw/", &[("a", 41), ("b", 30), ("c", 29)], "dice"),
            (
                "http://gw/",
                &[("a", 410), ("b", 300), ("c", 290)],
                "uneven: the busiest of 3 pods took 1.414 times",
            ),
            ("http://gw/", &[("", 5)], "--pod-from"),
            ("http://gw/", &[("a", 4), ("b", 4), ("", 5)], "5 answers did not name their pod"),
            ("http://gw/", &[], "no call succeeded"),
        ] {
            let said = said(target, calls);
            assert!(said.contains(words), "{said}");
        }
    }
}
