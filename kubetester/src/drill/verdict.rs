//! The verdict on a drill: what it cost, in words.

use super::{analysis::Analysis, scenario::Scenario};
use crate::{
    render::{count, time},
    result::LoadResult,
};

/// Returns the verdict: the cost of the loss, and the time of discovery.
pub fn verdict(scenario: Scenario, load: &LoadResult, findings: &Analysis) -> String {
    let mut sentence = match load.failed {
        0 => format!("{scenario} cost no call: all {} succeeded", count(load.calls)),
        failed => {
            let span = findings
                .failures
                .map(|span| format!(", from {} to {}", time(span.first_at), time(span.last_at)));
            format!(
                "{scenario} cost {} of {} calls{}",
                count(failed),
                count(load.calls),
                span.unwrap_or_default()
            )
        }
    };
    let gap = findings.longest_gap;
    sentence += &format!(", and never was there none that succeeded for longer than {}", time(gap.seconds));
    let never: Vec<_> = findings.found.iter().filter(|one| one.discovery.is_none()).collect();
    let slowest = findings.found.iter().filter_map(|one| one.discovery).reduce(f64::max);
    match (&never[..], findings.found.len(), slowest) {
        ([], 0, _) => {}
        ([], 1, Some(slowest)) => {
            sentence +=
                &format!("; the pod that came took its first call {} after it was ready", time(slowest));
        }
        ([], pods, Some(slowest)) => {
            sentence += &format!(
                "; each of the {pods} pods that came took its first call within {} of being ready",
                time(slowest)
            );
        }
        ([one], 1, _) => sentence += &format!("; {}, which was ready, took no call to the end", one.pod),
        (never, pods, _) => {
            sentence += &format!(
                "; {} of the {pods} pods that were ready took no call to the end: {}",
                never.len(),
                never.iter().map(|one| one.pod.as_str()).collect::<Vec<_>>().join(", ")
            );
        }
    }
    sentence
}
