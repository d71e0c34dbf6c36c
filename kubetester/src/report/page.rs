//! The pages of a load and of a comparison.

use askama::Template;

use super::{
    About,
    format::{counted, time},
    panel::Panel,
    plots::Plots,
};
use crate::{
    compare::{Compared, Comparison, Figure},
    render,
    result::LoadResult,
    verdict::Tone,
};

/// The page of one load.
#[derive(Debug, Template)]
#[template(path = "load.html")]
struct LoadPage<'a> {
    about: &'a About,
    title: &'a str,
    panel: Panel<'a>,
}

/// The page of a comparison.
#[derive(Debug, Template)]
#[template(path = "compare.html")]
struct ComparePage<'a> {
    about: &'a About,
    title: String,
    rounds: String,
    calls: String,
    elapsed: String,
    held: Option<bool>,
    headers: [&'static str; 6],
    rows: Vec<Row<'a>>,
    panels: Vec<Panel<'a>>,
}

/// One row of the table of a comparison.
#[derive(Debug)]
struct Row<'a> {
    name: &'a str,
    tone: Tone,
    headline: String,
    /// The formatted figures, each with `true` if it is the best.
    figures: Vec<(String, bool)>,
}

/// Returns the page of one load.
pub fn load(result: &LoadResult, about: &About) -> String {
    let plots = Plots::of(&[result], Vec::new());
    let panel = Panel::new("load", None, result, &plots);
    written(&LoadPage { about, title: &result.target, panel })
}

/// Returns the page of a comparison, with all loads on the same scales.
pub fn compare(comparison: &Comparison, about: &About) -> String {
    let results = &comparison.results;
    let loads: Vec<_> = results.iter().map(|one| &one.load).collect();
    let plots = Plots::of(&loads, Vec::new());
    let panels = results.iter().enumerate().map(|(number, Compared { name, load, .. })| {
        Panel::new(&format!("target-{number}"), Some(name), load, &plots)
    });
    written(&ComparePage {
        about,
        title: format!("{} under the same load", render::counted(results.len() as u64, "target")),
        rounds: counted(comparison.rounds.into(), "round"),
        calls: counted(loads.iter().map(|load| load.calls).sum(), "call"),
        elapsed: time(loads.iter().map(|load| load.elapsed).sum()),
        held: loads.iter().any(|load| !load.expectations.is_empty()).then(|| comparison.held()),
        headers: Figure::ALL.map(render::header),
        rows: results.iter().map(Row::new).collect(),
        panels: panels.collect(),
    })
}

pub(super) fn written(page: &impl Template) -> String {
    page.render().expect("writing to a String does not fail")
}

// === impl LoadPage ===

impl LoadPage<'_> {
    fn schema(&self) -> &'static str {
        crate::result::SCHEMA
    }
}

// === impl ComparePage ===

impl ComparePage<'_> {
    fn schema(&self) -> &'static str {
        crate::compare::SCHEMA
    }
}

// === impl Row ===

impl<'a> Row<'a> {
    fn new(one: &'a Compared) -> Self {
        let shown = |of: Figure| {
            let value = of.of(&one.load).map_or("–".to_owned(), |value| render::shown(of, value));
            (value.replace(' ', "\u{202f}"), one.best.contains(&of))
        };
        let findings = &one.load.findings;
        Self {
            name: &one.name,
            tone: findings.tone(),
            headline: findings.headline(),
            figures: Figure::ALL.map(shown).into(),
        }
    }
}
