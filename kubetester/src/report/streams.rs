//! The streams that a load held, as tables.

use askama::Template;

use super::format::{count, time};
use crate::result::{Ending, LoadResult, Move, PodStreams, Streams};

/// The maximum number of pods that are shown. Those with the most streams are shown.
const MAX_PODS: usize = 100;
/// The maximum number of endings, and of moves, that are shown.
const MAX_ROWS: usize = 50;

/// The part of a panel that is about streams.
#[derive(Debug, Template)]
#[template(path = "streams.html")]
pub(super) struct StreamsPart<'a> {
    /// The level of the headings.
    level: u8,
    facts: Vec<(&'static str, String)>,
    pods: Vec<&'a PodStreams>,
    more_pods: usize,
    idle: Vec<String>,
    endings: Vec<&'a Ending>,
    more_endings: usize,
    moves: Vec<&'a Move>,
    more_moves: usize,
}

// === impl StreamsPart ===

impl<'a> StreamsPart<'a> {
    /// Returns the part, if the load held streams.
    pub(super) fn new(load: &'a LoadResult, level: u8) -> Option<Self> {
        let streams = load.streams.as_ref()?;
        let mut pods: Vec<_> = streams.pods.iter().collect();
        if pods.len() > MAX_PODS {
            pods.sort_by_key(|pod| std::cmp::Reverse(pod.held));
            pods.truncate(MAX_PODS);
        }
        let idle = streams.idle.iter().flatten().take(MAX_ROWS).map(|endpoint| endpoint.address.clone());
        Some(Self {
            level,
            facts: facts(load, streams),
            more_pods: streams.pods.len() - pods.len(),
            pods,
            idle: idle.collect(),
            endings: streams.endings.iter().take(MAX_ROWS).collect(),
            more_endings: streams.endings.len().saturating_sub(MAX_ROWS),
            moves: streams.moves.iter().take(MAX_ROWS).collect(),
            more_moves: streams.moves.len().saturating_sub(MAX_ROWS),
        })
    }
}

fn facts(load: &LoadResult, streams: &Streams) -> Vec<(&'static str, String)> {
    vec![
        ("held at the end", count(streams.held)),
        ("wanted", count(streams.wanted)),
        ("ended early", count(streams.ended)),
        ("opened again", count(streams.reopened)),
        ("failed to open", count(streams.not_opened)),
        ("messages", count(load.messages.unwrap_or_default())),
    ]
}
