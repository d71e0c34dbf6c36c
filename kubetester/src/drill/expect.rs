//! The expectations of a drill: those of a load, and limits on gaps and on discovery times.

use std::time::Duration;

use super::analysis::{Analysis, Found};
use crate::{
    expect::{Checked, Expectations},
    render::time,
};

/// The expectations of a drill; empty by default.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Expectations (exit code 1 when one does not hold)")]
pub struct DrillExpectations {
    /// The expectations of the load.
    #[command(flatten)]
    pub load: Expectations,

    /// The longest gap without a successful call is at most this
    #[arg(long, value_name = "TIME", value_parser = service::parse_duration)]
    pub max_gap: Option<Duration>,

    /// Every pod that becomes ready gets its first call at most this much later
    #[arg(long, value_name = "TIME", value_parser = service::parse_duration)]
    pub max_discovery: Option<Duration>,
}

// === impl DrillExpectations ===

impl DrillExpectations {
    /// Checks the expectations that a load does not have.
    pub fn check(&self, analysis: &Analysis) -> Vec<Checked> {
        let mut checked = Vec::new();
        let mut check = |expectation, held, detail| {
            checked.push(Checked { expectation, held, partial: false, detail });
        };
        if let Some(limit) = self.max_gap {
            let gap = analysis.longest_gap;
            check(
                "max-gap",
                gap.seconds <= limit.as_secs_f64(),
                format!(
                    "no call succeeded for {}, from {} on; at most {} allowed",
                    time(gap.seconds),
                    time(gap.at),
                    time(limit.as_secs_f64()),
                ),
            );
        }
        if let Some(limit) = self.max_discovery {
            let (held, seen) = discovered(&analysis.found, limit);
            check("max-discovery", held, format!("{seen}, at most {} allowed", time(limit.as_secs_f64())));
        }
        checked
    }
}

/// Returns whether all pods got a call in time, with a sentence about the slowest pod.
fn discovered(found: &[Found], limit: Duration) -> (bool, String) {
    if let Some(never) = found.iter().find(|one| one.discovery.is_none()) {
        return (false, format!("{} became ready and got no call to the end", never.pod));
    }
    let slowest = found.iter().filter_map(|one| Some((one, one.discovery?)));
    match slowest.max_by(|(_, a), (_, b)| a.total_cmp(b)) {
        // No pod became ready, so the expectation was not tested.
        None => (false, "no pod became ready".to_owned()),
        Some((one, discovery)) => (
            discovery <= limit.as_secs_f64(),
            format!("{} got its first call {} after it became ready", one.pod, time(discovery)),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::analysis::Gap;

    fn found(pod: &str, discovery: Option<f64>) -> Found {
        Found {
            pod: pod.to_owned(),
            ready_at: 1.0,
            first_answer_at: discovery.map(|time| time + 1.0),
            discovery,
        }
    }

    fn check(max_gap: u64, max_discovery: u64, found: Vec<Found>) -> Vec<(bool, String)> {
        let expectations = DrillExpectations {
            max_gap: Some(Duration::from_millis(max_gap)),
            max_discovery: Some(Duration::from_millis(max_discovery)),
            ..DrillExpectations::default()
        };
        let longest_gap = Gap { seconds: 0.2, at: 2.0 };
        let analysis = Analysis { longest_gap, failures: None, lost: Vec::new(), found };
        expectations.check(&analysis).into_iter().map(|one| (one.held, one.detail)).collect()
    }

    #[test]
    fn gap_and_discovery_hold_up_to_their_limits() {
        let two = || vec![found("a", Some(0.3)), found("b", Some(0.5))];
        let gap = |limit| format!("no call succeeded for 200 ms, from 2.00 s on; at most {limit} allowed");
        let slowest =
            |limit| format!("b got its first call 500 ms after it became ready, at most {limit} allowed");
        assert_eq!(check(200, 500, two()), [(true, gap("200 ms")), (true, slowest("500 ms"))]);
        assert_eq!(check(199, 499, two()), [(false, gap("199 ms")), (false, slowest("499 ms"))]);
    }

    #[test]
    fn discovery_fails_without_a_first_call_or_a_ready_pod() {
        for (found, words) in [
            (vec![found("a", Some(0.1)), found("b", None)], "b became ready and got no call to the end"),
            (Vec::new(), "no pod became ready"),
        ] {
            let (held, sentence) = check(500, 500, found).remove(1);
            assert!(!held && sentence.starts_with(words), "{sentence}");
        }
    }
}
