//! The verdict on a drill, in sentences.

use super::{analysis::Analysis, paths::PathCalls, scenario::Scenario};
use crate::{
    render::{count, counted, time},
    result::LoadResult,
    verdict::Kind,
};

/// Returns the sentences of the verdict: failed calls, the longest gap, and when new pods got their first calls.
pub fn verdict(
    scenario: Scenario,
    load: &LoadResult,
    paths: &[PathCalls],
    analysis: &Analysis,
) -> Vec<String> {
    let mut sentences = vec![match load.failed {
        0 => format!("no call of {} failed", count(load.calls)),
        failed => {
            let span = analysis
                .failures
                .map(|span| format!(", between {} and {}", time(span.first_at), time(span.last_at)));
            let span = span.unwrap_or_default();
            format!("{scenario} cost {} of {}{span}", count(failed), counted(load.calls, "call"))
        }
    }];
    sentences.extend(by_path(paths));
    // With a lower rate than planned, the drill was easier than intended.
    let rate = load.findings.0.iter().filter(|finding| finding.kind == Kind::RateNotReached);
    sentences.extend(rate.map(|finding| finding.sentence.clone()));
    sentences.push(format!("longest gap without a successful call: {}", time(analysis.longest_gap.seconds)));
    sentences.extend(first_calls(analysis));
    sentences
}

/// Returns a sentence with the failed calls of each path, if several paths were called.
fn by_path(paths: &[PathCalls]) -> Option<String> {
    if paths.is_empty() {
        return None;
    }
    let each = paths.iter().map(|PathCalls { path, calls, failed }| {
        format!("{} of {} to {path}", count(*failed), counted(*calls, "call"))
    });
    Some(format!("failed by path: {}", each.collect::<Vec<_>>().join(", ")))
}

fn first_calls(analysis: &Analysis) -> Option<String> {
    let never: Vec<_> = analysis.found.iter().filter(|one| one.discovery.is_none()).collect();
    let slowest = analysis.found.iter().filter_map(|one| one.discovery).reduce(f64::max);
    Some(match (&never[..], analysis.found.len(), slowest) {
        ([], 0, _) => return None,
        ([], 1, Some(slowest)) => {
            format!("the new pod got its first call {} after it became ready", time(slowest))
        }
        ([], pods, Some(slowest)) => format!(
            "each of the {pods} new pods got its first call within {} after it became ready",
            time(slowest)
        ),
        ([one], 1, _) => format!("{} became ready and got no call to the end", one.pod),
        (never, pods, _) => format!(
            "{} of the {pods} pods that became ready got no call to the end: {}",
            never.len(),
            never.iter().map(|one| one.pod.as_str()).collect::<Vec<_>>().join(", ")
        ),
    })
}
