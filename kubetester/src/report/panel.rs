//! The part of a page about one load: its verdict, pods, errors and plots.

use askama::Template;

use super::{
    format::{count, percent, time},
    intervals::Intervals,
    plots::{Drawing, Plots},
    scale::tenth,
    streams::StreamsPart,
};
use crate::{
    expect::Checked,
    result::{LoadResult, Pod},
    verdict::{Tone, figure},
};

/// The number of pods that are shown; further pods are collapsed.
const MAX_PODS: usize = 20;
/// The maximum number of causes of errors that are shown.
const MAX_CAUSES: usize = 20;

/// The part of a page about one load.
#[derive(Debug, Template)]
#[template(path = "panel.html")]
pub(super) struct Panel<'a> {
    /// The prefix of the IDs of the elements.
    id: String,
    /// The level of the headings.
    level: u8,
    pub(super) head: Option<Head<'a>>,
    streams: Option<StreamsPart<'a>>,
    pods: Vec<Line<'a>>,
    more_pods: Vec<Line<'a>>,
    /// The numbers of calls and errors whose pod is unknown, if there are any.
    without_pod: Option<(String, String)>,
    /// The causes of failed calls, each with the number of calls.
    causes: Vec<(String, &'a str)>,
    more_causes: usize,
    percentiles: Vec<(&'static str, String)>,
    plots: Drawing,
    intervals: Vec<[String; 6]>,
}

/// The head of a panel.
#[derive(Debug, Template)]
#[template(path = "head.html")]
pub(super) struct Head<'a> {
    /// The name of the target; `None` if the page has only this panel.
    pub(super) name: Option<&'a str>,
    /// The tone of the verdict, which sets its colour.
    pub(super) tone: Tone,
    /// The sentences of the verdict, most important first.
    pub(super) verdict: Vec<&'a str>,
    /// The figures below the verdict.
    pub(super) balance: String,
    pub(super) expectations: &'a [Checked],
    pub(super) facts: Vec<(&'static str, String)>,
    pub(super) notes: &'a [String],
}

/// One row of the table of pods.
#[derive(Debug)]
struct Line<'a> {
    pod: &'a Pod,
    calls: String,
    share: String,
    /// The length of the bar, in percent of the busiest pod's bar.
    bar: f64,
    errors: String,
    p50: String,
    p99: String,
    first: String,
    last: String,
}

// === impl Panel ===

impl<'a> Panel<'a> {
    pub(super) fn new(id: &str, name: Option<&'a str>, load: &'a LoadResult, plots: &Plots) -> Self {
        let mut pods: Vec<_> = load.pods.iter().collect();
        if pods.len() > MAX_PODS {
            pods.sort_by_key(|pod| std::cmp::Reverse(pod.calls));
        }
        let most = pods.iter().map(|pod| pod.calls).max().unwrap_or_default();
        let mut pods: Vec<_> = pods.into_iter().map(|pod| Line::new(pod, most)).collect();
        let more_pods = pods.split_off(pods.len().min(MAX_PODS));
        let causes = load.errors.iter().take(MAX_CAUSES);
        let causes: Vec<_> = causes.map(|error| (count(error.count), &*error.cause)).collect();
        let level = if name.is_some() { 3 } else { 2 };
        Self {
            id: id.to_owned(),
            level,
            head: Some(Head::new(name, load)),
            streams: StreamsPart::new(load, level),
            pods,
            more_pods,
            without_pod: (load.unnamed + load.failed_without_pod > 0)
                .then(|| (count(load.unnamed), count(load.failed_without_pod))),
            causes,
            more_causes: load.errors.len().saturating_sub(MAX_CAUSES),
            percentiles: percentiles(load),
            plots: plots.draw(id, load),
            intervals: intervals(load),
        }
    }
}

// === impl Head ===

impl<'a> Head<'a> {
    fn new(name: Option<&'a str>, load: &'a LoadResult) -> Self {
        Self {
            name,
            tone: load.findings.tone(),
            verdict: load.findings.0.iter().map(|finding| finding.sentence.as_str()).collect(),
            balance: balance(load),
            expectations: &load.expectations,
            facts: facts(load),
            notes: &load.notes,
        }
    }
}

fn balance(load: &LoadResult) -> String {
    let balance = &load.balance;
    balance.p_value.map_or_else(String::new, |p_value| {
        format!(
            "{} pods, busiest over idlest {}, variation {}, chi-squared p {}",
            count(balance.pods as u64),
            balance.skew.map_or("infinite".to_owned(), figure),
            percent(balance.variation),
            figure(p_value),
        )
    })
}

fn facts(load: &LoadResult) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("calls", count(load.calls)),
        ("calls a second", count(load.calls_per_second.round() as u64)),
        ("failed", count(load.failed)),
        ("pods", count(load.balance.pods as u64)),
    ];
    if load.succeeded > 0 {
        facts.extend([("p50", time(load.latency.p50)), ("p99", time(load.latency.p99))]);
    }
    facts
}

fn percentiles(load: &LoadResult) -> Vec<(&'static str, String)> {
    let latency = &load.latency;
    let all = [
        ("min", latency.min),
        ("mean", latency.mean),
        ("p50", latency.p50),
        ("p75", latency.p75),
        ("p90", latency.p90),
        ("p95", latency.p95),
        ("p99", latency.p99),
        ("p99.9", latency.p999),
        ("max", latency.max),
    ];
    all.into_iter().filter(|_| load.succeeded > 0).map(|(name, value)| (name, time(value))).collect()
}

/// Returns the data of the plots over time as table rows.
fn intervals(load: &LoadResult) -> Vec<[String; 6]> {
    let Some(over_time) = &load.over_time else { return Vec::new() };
    let latency = |value: Option<f64>| value.map_or("–".to_owned(), time);
    let row = |(number, (from, _)): (usize, (f64, f64))| {
        let at = |counts: &[u64]| count(counts.get(number).copied().unwrap_or_default());
        let slow = |series: &[Option<f64>]| latency(series.get(number).copied().flatten());
        [
            time(from),
            at(&over_time.succeeded),
            at(&over_time.failed),
            slow(&over_time.p50),
            slow(&over_time.p90),
            slow(&over_time.p99),
        ]
    };
    let spans = Intervals::new(over_time.width, over_time.width * over_time.succeeded.len() as f64);
    spans.iter().enumerate().map(row).collect()
}

// === impl Line ===

impl<'a> Line<'a> {
    fn new(pod: &'a Pod, most: u64) -> Self {
        Self {
            pod,
            calls: count(pod.calls),
            share: percent(pod.share),
            bar: tenth(100.0 * pod.calls as f64 / most.max(1) as f64),
            errors: count(pod.errors),
            p50: time(pod.p50),
            p99: time(pod.p99),
            first: time(pod.first_at),
            last: time(pod.last_at),
        }
    }
}
