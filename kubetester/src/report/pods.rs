//! Chooses the pods that are drawn separately, and their colours. They are the same on all plots of a page.

use std::collections::BTreeMap;

use crate::result::LoadResult;

/// The maximum number of colours. With labels beside the shapes, readers with colour blindness can distinguish as many.
const MAX_COLOURS: usize = 6;

/// The pods that are drawn separately, in the order of their colours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Drawn {
    pods: Vec<String>,
    /// The number of pods that are not drawn separately.
    pub(super) others: usize,
}

// === impl Drawn ===

impl Drawn {
    /// Chooses all pods in the order of their names or, if there are too many, the busiest pods.
    pub(super) fn of(loads: &[&LoadResult]) -> Self {
        let mut calls = BTreeMap::<&str, u64>::new();
        for pod in loads.iter().flat_map(|load| &load.pods) {
            *calls.entry(&pod.name).or_default() += pod.calls;
        }
        let mut pods: Vec<_> = calls.into_iter().collect();
        let count = pods.len();
        if count > MAX_COLOURS {
            pods.sort_by_key(|(_, calls)| std::cmp::Reverse(*calls));
            pods.truncate(MAX_COLOURS - 1);
            pods.sort_unstable();
        }
        let pods: Vec<_> = pods.into_iter().map(|(name, _)| name.to_owned()).collect();
        Self { others: count - pods.len(), pods }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.pods.iter().map(String::as_str)
    }

    /// Returns the CSS class with the pod's colour.
    pub(super) fn class(&self, name: &str) -> String {
        self.names()
            .position(|pod| pod == name)
            .map_or_else(|| "rest".to_owned(), |number| format!("c{number}"))
    }
}
