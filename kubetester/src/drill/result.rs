//! The result of a drill as one document: the events, their effect, and the result of the load. Fields are only added;
//! any other change needs a new version.

use serde::Serialize;

use super::{
    analysis::Analysis, event_log::Event, expect::DrillExpectations, paths::PathCalls, scenario::Scenario,
    success_log::CallTimes, verdict::verdict,
};
use crate::{expect::Checked, result::LoadResult, verdict::Tone};

/// The version of the document.
pub const SCHEMA: &str = "kubetester.drill/1";

/// The result of a drill. Times are in seconds from the start of the load.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DrillResult {
    /// The kind and version of the document.
    #[cfg_attr(test, schemars(extend("const" = SCHEMA)))]
    pub schema: &'static str,
    /// The scenario, e.g. `kill`, `restart`, `scale 5`, `freeze`, `dns-outage`.
    pub scenario: String,
    /// The system: `demo`, `compose`, `processes` or `kubernetes`.
    pub on: &'static str,
    /// The events, in chronological order.
    pub events: Vec<Event>,
    /// The calls by path, if the drill calls more than one.
    pub paths: Vec<PathCalls>,
    /// The effect on the calls.
    #[serde(flatten)]
    pub analysis: Analysis,
    /// The verdict as one text.
    pub verdict: String,
    /// The sentences of the verdict.
    pub sentences: Vec<String>,
    /// Remarks that affect how to read the figures.
    pub notes: Vec<String>,
    /// The expectations of the command line and their outcomes.
    pub expectations: Vec<Checked>,
    /// The load during the drill. Its `expectations` are empty; those of the drill include them.
    pub load: LoadResult,
}

// === impl DrillResult ===

impl DrillResult {
    /// Computes the result of a drill.
    pub fn new(
        scenario: Scenario,
        on: &'static str,
        events: Vec<Event>,
        call_times: &CallTimes,
        paths: Vec<PathCalls>,
        mut load: LoadResult,
        expectations: &DrillExpectations,
    ) -> Self {
        let analysis = Analysis::new(&events, call_times, load.elapsed);
        let mut checked = std::mem::take(&mut load.expectations);
        checked.extend(expectations.check(&analysis));
        let sentences = verdict(scenario, &load, &paths, &analysis);
        Self {
            schema: SCHEMA,
            scenario: scenario.to_string(),
            on,
            verdict: sentences.join("; "),
            sentences,
            paths,
            notes: load.notes.clone(),
            events,
            analysis,
            expectations: checked,
            load,
        }
    }

    /// Returns how serious the result is.
    pub fn tone(&self) -> Tone {
        let lost = self.analysis.found.iter().any(|one| one.discovery.is_none());
        match (self.held() && self.load.failed == 0, lost) {
            (false, _) => Tone::Bad,
            (true, true) => Tone::Warning,
            (true, false) => Tone::Good,
        }
    }

    /// Returns whether every expectation held.
    pub fn held(&self) -> bool {
        self.expectations.iter().all(|one| one.held)
    }
}
