//! Logs the beginning and the end of a time in which a resolver finds no endpoints.

use super::ResolveError;

/// Tracks the outcomes of a resolver. Logs the first failure, the first empty answer, and the next answer with endpoints.
#[derive(Debug, Default)]
pub(super) struct OutcomeLog {
    /// The number of endpoints in the last answer.
    endpoints: usize,
    problem: Option<Problem>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    Failed,
    Empty,
}

// === impl OutcomeLog ===

impl OutcomeLog {
    /// Records an answer with this number of endpoints.
    pub(super) fn answered(&mut self, endpoints: usize) {
        self.endpoints = endpoints;
        if endpoints > 0 {
            match self.problem.take() {
                Some(Problem::Failed) => tracing::warn!(endpoints, "name resolution works again"),
                Some(Problem::Empty) => tracing::warn!(endpoints, "the name has endpoints now"),
                None => {}
            }
        } else if self.problem.replace(Problem::Empty) != Some(Problem::Empty) {
            tracing::warn!("the name has no endpoints; connections that work stay in use");
        }
    }

    /// Records a failure.
    pub(super) fn failed(&mut self, error: &ResolveError) {
        if self.problem.replace(Problem::Failed) == Some(Problem::Failed) {
            tracing::debug!(%error, "name resolution fails");
        } else {
            match self.endpoints {
                0 => tracing::warn!(%error, "name resolution fails; no endpoints are known"),
                endpoints => {
                    tracing::warn!(%error, endpoints, "name resolution fails; the last known endpoints stay in use");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::testing::Log;

    #[test]
    fn each_problem_and_its_end_are_logged_once() {
        let (log, _guard) = Log::start();
        let lines = || -> Vec<String> {
            log.lines()
                .iter()
                .map(|line| line.replace(" balanced_channel::resolver::outcome_log:", ""))
                .collect()
        };
        let mut outcomes = OutcomeLog::default();
        let error = ResolveError::new("SERVFAIL");
        outcomes.answered(3);
        assert_eq!(lines(), [""; 0]);
        for _ in 0..3 {
            outcomes.failed(&error);
        }
        let stay =
            "WARN name resolution fails; the last known endpoints stay in use error=SERVFAIL endpoints=3";
        assert_eq!(lines(), [stay]);
        for _ in 0..3 {
            outcomes.answered(0);
        }
        assert_eq!(lines(), ["WARN the name has no endpoints; connections that work stay in use"]);
        for _ in 0..3 {
            outcomes.answered(2);
        }
        assert_eq!(lines(), ["WARN the name has endpoints now endpoints=2"]);
        outcomes.answered(0);
        outcomes.failed(&error);
        outcomes.answered(2);
        let unknown = "WARN name resolution fails; no endpoints are known error=SERVFAIL";
        let again = "WARN name resolution works again endpoints=2";
        assert_eq!(lines()[1..], [unknown, again]);
    }
}
