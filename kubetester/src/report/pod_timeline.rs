//! The timeline: a row for each pod, with its events.

use askama::Template;

use super::{
    format::round_time,
    intervals::Intervals,
    path::Path,
    plot::{Mark, Tick, height, rows},
    scale::Scale,
};
use crate::{drill::event_log::Event, result::LoadResult};

/// The height of a row, in pixels.
const HEIGHT: u32 = 26;

/// The maximum number of rows. Pods without events are left out first.
const MAX_ROWS: usize = 16;

/// A row for each pod, one above the other, on the same time axis.
#[derive(Debug, Template)]
#[template(path = "pod_timeline.html")]
pub(super) struct PodTimeline {
    rows: Vec<Row>,
    /// The number of pods that are left out.
    others: usize,
    horizontal: Vec<Tick>,
    /// The events that do not belong to a single pod.
    marks: Vec<Mark>,
}

/// The row of one pod.
#[derive(Debug)]
struct Row {
    name: String,
    /// The area below the pod's calls per second.
    path: String,
    marks: Vec<Mark>,
}

// === impl PodTimeline ===

impl PodTimeline {
    /// Returns the timeline of a load's pods; `None` if no pod is known.
    pub(super) fn of(load: &LoadResult, events: &[Event]) -> Option<Self> {
        let over_time = load.over_time.as_ref().filter(|over_time| !over_time.pods.is_empty())?;
        let spans = Intervals::new(over_time.width, load.elapsed);
        let along = Scale::Linear(load.elapsed);
        let mark = |event: &Event| Mark::new(along, event.at, event.what.description().to_owned());
        let eventful = |name: &str| events.iter().any(|event| event.pod.as_deref() == Some(name));
        let mut pods: Vec<_> = over_time.pods.iter().map(|pod| (pod, spans.rates(&pod.calls))).collect();
        let most = pods.iter().flat_map(|(_, rates)| rates).copied().fold(0.0, f64::max);
        let others = pods.len().saturating_sub(MAX_ROWS);
        if others > 0 {
            pods.sort_by_key(|(pod, _)| !eventful(&pod.name));
            pods.truncate(MAX_ROWS);
        }
        let row = |(pod, rates): (&crate::result::PodOverTime, Vec<f64>)| {
            let place = |(from, to)| (along.place(from), along.place(to));
            let steps: Vec<_> = spans
                .iter()
                .zip(rates)
                .map(|(span, rate)| (place(span), 0.0, Scale::Linear(most).place(rate)))
                .collect();
            let own = events.iter().filter(|event| event.pod.as_ref() == Some(&pod.name));
            Row {
                name: pod.name.clone(),
                path: Path::new(HEIGHT).area(&steps),
                marks: rows(own.map(mark).collect()),
            }
        };
        let ticks = along.time_ticks(6);
        Some(Self {
            rows: pods.into_iter().map(row).collect(),
            others,
            horizontal: ticks.into_iter().map(|tick| Tick::new(along, tick, round_time)).collect(),
            marks: rows(events.iter().filter(|event| event.pod.is_none()).map(mark).collect()),
        })
    }
}

// === impl Row ===

impl Row {
    fn rows(&self) -> usize {
        height(&self.marks)
    }
}
