//! The page of a drill: its events, their consequences, and the load during the drill.

use askama::Template;

use super::{
    About,
    format::{count, time},
    page::written,
    panel::{Head, Panel},
    plots::Plots,
    pod_timeline::PodTimeline,
};
use crate::{
    drill::{
        event_log::Event,
        result::{DrillResult, SCHEMA},
    },
    render,
};

#[derive(Debug, Template)]
#[template(path = "drill.html")]
struct DrillPage<'a> {
    about: &'a About,
    title: String,
    target: &'a str,
    head: Head<'a>,
    events: Vec<Happened>,
    timeline: Option<PodTimeline>,
    panel: Panel<'a>,
}

/// One row of the table of events.
#[derive(Debug)]
struct Happened {
    at: String,
    what: String,
    then: String,
}

/// Returns the page of a drill.
pub fn drill(result: &DrillResult, about: &About) -> String {
    let load = &result.load;
    let number = |(index, event): (usize, &Event)| (event.at, (index + 1).to_string());
    let plots = Plots::of(&[load], result.events.iter().enumerate().map(number).collect());
    let mut panel = Panel::new("drill", None, load, &plots);
    panel.head = None;
    let gap = result.analysis.longest_gap;
    let mut facts = vec![
        ("calls", count(load.calls)),
        ("calls a second", count(load.calls_per_second.round() as u64)),
        ("failed", count(load.failed)),
        ("longest gap", time(gap.seconds)),
    ];
    facts.extend(slowest(result).map(|slowest| ("slowest discovery", time(slowest))));
    let head = Head {
        name: None,
        tone: result.tone(),
        verdict: result.sentences.iter().map(String::as_str).collect(),
        balance: "gap: a time without a successful call; discovery: from a pod's readiness to its first call"
            .to_owned(),
        expectations: &result.expectations,
        facts,
        notes: &result.notes,
    };
    written(&DrillPage {
        about,
        title: format!("{} on {}", result.scenario, result.on),
        target: &load.target,
        events: result.events.iter().map(|event| Happened::new(result, event)).collect(),
        timeline: PodTimeline::of(load, &result.events),
        head,
        panel,
    })
}

/// Returns the longest time between a pod's readiness and its first call.
fn slowest(result: &DrillResult) -> Option<f64> {
    result.analysis.found.iter().filter_map(|found| found.discovery).reduce(f64::max)
}

// === impl DrillPage ===

impl DrillPage<'_> {
    fn schema(&self) -> &'static str {
        SCHEMA
    }
}

// === impl Happened ===

impl Happened {
    fn new(result: &DrillResult, event: &Event) -> Self {
        let what = event.what.description();
        Self {
            at: time(event.at),
            what: event.pod.as_ref().map_or(what.to_owned(), |pod| format!("{pod} {what}")),
            then: render::consequence(result, event).unwrap_or_default(),
        }
    }
}
