//! The verdict on streams that were held.

use super::{Finding, Kind, Verdict, causes, figure, interrupted, some_unnamed, too_few};
use crate::{
    balance::{Balance, Spread},
    conditions::Conditions,
    engine::{Plan, Run},
    render::{count, counted, percent, time},
    result::{Ending, Streams},
};

/// The maximum number of endings, and of moves, that are listed.
const MAX_LISTED: usize = 4;

// === impl Verdict ===

impl Verdict {
    /// Judges streams by where they are at the end.
    pub fn of_streams(
        conditions: &Conditions,
        plan: &Plan,
        run: &Run,
        balance: &Balance,
        streams: &Streams,
    ) -> Self {
        let tally = &run.tally;
        let mut findings = Vec::new();
        let mut find = |kind, sentence| findings.push(Finding { kind, sentence });
        if tally.failed() > 0 && tally.succeeded > 0 {
            let (failed, all) = (tally.failed(), tally.calls());
            let share = percent(failed as f64 / all as f64);
            let sentence = format!(
                "{} of {} streams could not be opened or ended with an error ({share})",
                count(failed),
                count(all)
            );
            find(Kind::Failures, sentence);
        }
        if run.interrupted(plan) {
            find(Kind::Interrupted, interrupted(plan, run));
        }
        if streams.opened == 0 {
            find(
                Kind::NothingSucceeded,
                "no stream was opened, so nothing is known about balance".to_owned(),
            );
            return Self(findings);
        }
        if streams.ended > 0 {
            find(Kind::StreamsEnded, ended(streams));
        }
        if streams.held == 0 {
            find(
                Kind::NothingSucceeded,
                "no stream is open at the end, so there is nothing to judge".to_owned(),
            );
            return Self(findings);
        }
        let (kind, sentence) = spread(conditions, balance, streams);
        find(kind, sentence);
        if kind != Kind::OneReachable
            && let Some(sentence) = causes::unreachable(conditions)
        {
            find(Kind::EndpointsUnreachable, sentence);
        }
        if streams.held_unnamed > 0 && kind != Kind::NoPodNamed {
            find(Kind::SomeUnnamed, some_unnamed(streams.held_unnamed));
        }
        Self(findings)
    }
}

/// Returns which streams ended early and where they were opened again.
fn ended(streams: &Streams) -> String {
    let ending = |one: &Ending| {
        let pod = one.pod.as_ref().map(|pod| format!(" on {pod}")).unwrap_or_default();
        let after = match (time(one.shortest), time(one.longest)) {
            (shortest, longest) if shortest == longest => shortest,
            (shortest, longest) => format!("{shortest} to {longest}"),
        };
        format!("{}{pod} with {} after {after}", count(one.count), one.status)
    };
    let mut sentence = format!(
        "{} ended early: {}",
        counted(streams.ended, "stream"),
        listed(streams.endings.iter().map(ending).collect())
    );
    if streams.reopened > 0 {
        let mut reached: Vec<(&str, u64)> = Vec::new();
        for one in &streams.moves {
            match reached.iter_mut().find(|(pod, _)| *pod == one.to) {
                Some((_, count)) => *count += one.count,
                None => reached.push((&one.to, one.count)),
            }
        }
        let reached: Vec<_> =
            reached.into_iter().map(|(pod, streams)| format!("{} on {pod}", count(streams))).collect();
        sentence += &format!("; {} opened again", count(streams.reopened));
        if !reached.is_empty() {
            sentence += &format!(": {}", listed(reached));
        }
    }
    sentence
}

fn listed(mut parts: Vec<String>) -> String {
    if let Some(more) = parts.len().checked_sub(MAX_LISTED).filter(|more| *more > 0) {
        parts.truncate(MAX_LISTED);
        parts.push(format!("and {more} more"));
    }
    parts.join(", ")
}

fn spread(conditions: &Conditions, balance: &Balance, streams: &Streams) -> (Kind, String) {
    let pods = balance.pods;
    let chance = balance.p_value.map(|p| format!("p = {}", figure(p))).unwrap_or_default();
    let spread = balance.spread();
    if let Some(sentence) = stay(streams, spread) {
        return (Kind::StreamsStay, sentence);
    }
    match spread {
        Spread::Unknown | Spread::Unsettled => (Kind::NoPodNamed, causes::no_pod_named(conditions)),
        Spread::OnePod => causes::one_pod(conditions),
        Spread::TooFew { needed } => match causes::one_pod(conditions) {
            known if pods == 1 && known.0.is_certain() => known,
            _ => (Kind::TooFewCalls, too_few(balance, needed, "streams")),
        },
        Spread::Even | Spread::Random if streams.idle_endpoints() > 0 => (
            Kind::Uneven,
            format!(
                "uneven: {pods} pods hold every stream, and {} hold none, although they were connected when the streams \
                 were opened",
                endpoints(streams.idle_endpoints())
            ),
        ),
        Spread::Even => (Kind::Even, format!("even: each of {pods} pods holds its share of the streams")),
        Spread::Random => (
            Kind::EvenOnAverage,
            format!("even on average: {pods} pods, no more uneven than chance would make it ({chance})"),
        ),
        Spread::Uneven => {
            let skew = figure(balance.skew);
            let cause = causes::uneven(conditions);
            let sentence = format!(
                "uneven: the busiest of {pods} pods holds {skew} times the streams of the idlest, and chance does not \
                 explain it ({chance}); {cause}"
            );
            (Kind::Uneven, sentence)
        }
    }
}

/// Returns a sentence if pods that came later hold no stream, or fewer than the others.
fn stay(streams: &Streams, spread: Spread) -> Option<String> {
    let idle = streams.idle.iter().flatten().filter(|endpoint| endpoint.came_later).count();
    if idle > 0 && idle == streams.idle_endpoints() {
        return Some(format!(
            "{} that came while the streams were open hold none of them: an open stream stays on its pod, and only \
             streams that are opened later reach others",
            endpoints(idle)
        ));
    }
    let holds = |later: bool| {
        streams.pods.iter().filter(move |pod| pod.held > 0 && pod.came_later == later).map(|pod| pod.held)
    };
    let (most_later, least_before) = (holds(true).max()?, holds(false).min()?);
    if streams.idle_endpoints() > 0 || spread != Spread::Uneven || most_later >= least_before {
        return None;
    }
    let (pods, held) = (holds(true).count(), holds(true).sum());
    Some(format!(
        "{pods} {} later and hold {} of {} streams: an open stream stays on its pod, and only streams that are opened \
         later reach others; a server that ends its connections from time to time (max connection age) spreads them",
        if pods == 1 { "pod came" } else { "pods came" },
        count(held),
        count(streams.held)
    ))
}

fn endpoints(count: usize) -> String {
    counted(count as u64, "endpoint")
}
