//! Which pods are drawn each for itself, and in which colour: the same on all plots of a page.

use std::collections::BTreeMap;

use crate::result::LoadResult;

/// As many colours are told apart, also by those who see few, where names stand beside them.
const MOST: usize = 6;

/// The pods that are drawn each for itself, in the order of their colours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Drawn {
    pods: Vec<String>,
    /// The number of more that there are.
    pub(super) others: usize,
}

// === impl Drawn ===

impl Drawn {
    /// All pods in the order of their names; if they are too many, those with most calls.
    pub(super) fn of(loads: &[&LoadResult]) -> Self {
        let mut calls = BTreeMap::<&str, u64>::new();
        for pod in loads.iter().flat_map(|load| &load.pods) {
            *calls.entry(&pod.name).or_default() += pod.calls;
        }
        let mut pods: Vec<_> = calls.into_iter().collect();
        let count = pods.len();
        if count > MOST {
            pods.sort_by_key(|(_, calls)| std::cmp::Reverse(*calls));
            pods.truncate(MOST - 1);
            pods.sort_unstable();
        }
        let pods: Vec<_> = pods.into_iter().map(|(name, _)| name.to_owned()).collect();
        Self { others: count - pods.len(), pods }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.pods.iter().map(String::as_str)
    }

    /// The class that has the pod's colour.
    pub(super) fn class(&self, name: &str) -> String {
        self.names()
            .position(|pod| pod == name)
            .map_or_else(|| "rest".to_owned(), |number| format!("c{number}"))
    }
}
