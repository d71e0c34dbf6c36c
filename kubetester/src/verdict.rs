//! The verdict on a load: a list of findings with their most likely causes. `docs/verdicts.md` explains each kind.

mod causes;
mod kind;
mod rate;
mod streams;

use std::fmt;

use serde::Serialize;

pub use self::kind::{Kind, Tone};
use crate::{
    balance::{Balance, Spread},
    conditions::Conditions,
    engine::{Plan, Run},
    render::{count, counted, percent, time},
};

/// The maximum number of changes of the set of pods that are listed.
const MAX_LISTED: usize = 10;

/// One sentence of a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Finding {
    /// The kind, which stays the same when the sentence is reworded.
    pub kind: Kind,
    /// The finding in words.
    pub sentence: String,
}

/// The findings about a load, most important first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Verdict(pub Vec<Finding>);

// === impl Verdict ===

impl Verdict {
    /// Judges a load.
    pub fn new(conditions: &Conditions, plan: &Plan, run: &Run, balance: &Balance) -> Self {
        let tally = &run.tally;
        let mut findings = Vec::new();
        let mut find = |kind, sentence| findings.push(Finding { kind, sentence });
        if tally.failed() > 0 && tally.succeeded > 0 {
            find(Kind::Failures, failures(tally.failed(), tally.calls()));
        }
        if let Some(sentence) = rate::not_reached(conditions, plan, run) {
            find(Kind::RateNotReached, sentence);
        }
        if run.interrupted(plan) {
            find(Kind::Interrupted, interrupted(plan, run));
        }
        if tally.succeeded == 0 {
            let sentence = match tally.calls() {
                0 => "no call was made, so nothing is known".to_owned(),
                calls => format!("no call of {} succeeded, so nothing is known about balance", count(calls)),
            };
            find(Kind::NothingSucceeded, sentence);
            return Self(findings);
        }
        if !balance.changes.is_empty() {
            find(Kind::PodsChanged, changes(balance));
        }
        let (kind, sentence) = spread(conditions, balance);
        find(kind, sentence);
        if kind != Kind::OneReachable
            && let Some(sentence) = causes::unreachable(conditions)
        {
            find(Kind::EndpointsUnreachable, sentence);
        }
        if tally.unnamed > 0 && kind != Kind::NoPodNamed {
            find(Kind::SomeUnnamed, some_unnamed(tally.unnamed));
        }
        Self(findings)
    }

    /// Returns the tone of the most serious finding.
    pub fn tone(&self) -> Tone {
        self.0.iter().map(|finding| finding.kind.tone()).max().unwrap_or(Tone::Neutral)
    }

    /// Returns the kinds that a table row shows: all but the neutral ones.
    pub fn headline(&self) -> String {
        let shown = self.0.iter().map(|finding| finding.kind).filter(|kind| kind.tone() != Tone::Neutral);
        shown.map(|kind| kind.to_string()).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentences: Vec<_> = self.0.iter().map(|finding| finding.sentence.as_str()).collect();
        f.write_str(&sentences.join("; "))
    }
}

fn some_unnamed(answers: u64) -> String {
    format!(
        "{} {} not name {} pod and {} not counted here",
        count(answers),
        if answers == 1 { "answer does" } else { "answers do" },
        if answers == 1 { "its" } else { "their" },
        if answers == 1 { "is" } else { "are" },
    )
}

fn failures(failed: u64, calls: u64) -> String {
    let share = percent(failed as f64 / calls as f64);
    format!("{} of {} failed ({share})", count(failed), counted(calls, "call"))
}

fn interrupted(plan: &Plan, run: &Run) -> String {
    let planned = match (plan.calls, plan.duration) {
        (Some(calls), _) => format!("{} of {}", count(run.tally.calls()), counted(calls, "call")),
        (None, Some(duration)) => {
            format!("{} of {}", time(run.elapsed.as_secs_f64()), time(duration.as_secs_f64()))
        }
        (None, None) => time(run.elapsed.as_secs_f64()),
    };
    format!("interrupted after {planned}")
}

fn changes(balance: &Balance) -> String {
    let listed = balance.changes.iter().take(MAX_LISTED).map(|change| {
        let when = if change.came { "from" } else { "until" };
        format!("{} answered {when} {}", change.pod, time(change.at))
    });
    let mut listed: Vec<_> = listed.collect();
    if let Some(more) = balance.changes.len().checked_sub(MAX_LISTED).filter(|more| *more > 0) {
        listed.push(counted(more as u64, "more change"));
    }
    let judged = match balance.stable {
        Some(seconds) if balance.calls > 0 => {
            format!("; evenness is judged over the {} in which the set of pods was stable", time(seconds))
        }
        _ => String::new(),
    };
    format!("pods came and went: {}{judged}", listed.join(", "))
}

fn spread(conditions: &Conditions, balance: &Balance) -> (Kind, String) {
    let pods = balance.pods;
    let chance = balance.p_value.map(|p| format!("p = {}", figure(p))).unwrap_or_default();
    match balance.spread() {
        Spread::Unknown => (Kind::NoPodNamed, causes::no_pod_named(conditions)),
        Spread::Unsettled => {
            (Kind::Unsettled, "the set of pods was never stable for long enough to judge evenness".to_owned())
        }
        Spread::OnePod => causes::one_pod(conditions),
        Spread::TooFew { needed } => match causes::one_pod(conditions) {
            // With one connection or one address, a single call proves the cause.
            known if pods == 1 && known.0.is_certain() => known,
            _ => (Kind::TooFewCalls, too_few(balance, needed, "calls")),
        },
        Spread::Even => (Kind::Even, format!("even: each of {pods} pods took its share")),
        Spread::Random => (
            Kind::EvenOnAverage,
            format!(
                "even on average: {pods} pods, no more uneven than chance would make it ({chance}); \
                 strict round robin would be more even"
            ),
        ),
        Spread::Uneven => {
            let uneven = match balance.skew.is_finite() {
                true => format!("took {} times the calls of the idlest", figure(balance.skew)),
                false => "took calls and the idlest answered none with success".to_owned(),
            };
            let cause = causes::uneven(conditions);
            let sentence = format!(
                "uneven: the busiest of {pods} pods {uneven}, and chance does not explain it ({chance}); {cause}"
            );
            (Kind::Uneven, sentence)
        }
    }
}

fn too_few(balance: &Balance, needed: u64, unit: &str) -> String {
    let (calls, needed) = (count(balance.calls), count(needed));
    match balance.pods {
        1 => format!("too few {unit} to tell: {calls} to one pod; it takes {needed}"),
        pods => format!(
            "too few {unit} to tell an even spread from a skewed one: {calls} to {pods} pods; it takes about {needed}"
        ),
    }
}

/// Formats a number with three decimals below 10, and in scientific notation below 0.001.
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
mod tests;
