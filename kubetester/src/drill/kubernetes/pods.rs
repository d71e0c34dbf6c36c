//! The last known pods of a Deployment, and the events that follow from their changes.

use std::collections::BTreeMap;

use super::objects::{Pod, is_ready};
use crate::drill::event_log::{EventKind, EventLog};

/// The pods, by their names.
#[derive(Debug, Default)]
pub(super) struct Pods(BTreeMap<String, State>);

/// A pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    /// True if the condition `Ready` is true.
    ready: bool,
    /// True if the pod is terminating (`deletionTimestamp`).
    stopping: bool,
}

// === impl Pods ===

impl Pods {
    /// Replaces the pods by those of a list, and records the events since the last state.
    pub(super) fn list(&mut self, pods: &[Pod], event_log: Option<&EventLog>) {
        let listed: Vec<_> = pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
        let known: Vec<_> = self.0.keys().cloned().collect();
        for name in known.iter().filter(|name| !listed.contains(&name.as_str())) {
            self.remove(name, event_log);
        }
        for pod in pods {
            self.update(pod, event_log);
        }
    }

    /// Updates one pod. Records an event if it became ready or started to terminate.
    pub(super) fn update(&mut self, pod: &Pod, event_log: Option<&EventLog>) {
        let Some(name) = &pod.metadata.name else { return };
        let now = State { ready: is_ready(pod), stopping: pod.metadata.deletion_timestamp.is_some() };
        let before = self.0.insert(name.clone(), now);
        let Some(event_log) = event_log else { return };
        if now.ready && !now.stopping && !before.is_some_and(|before| before.ready) {
            event_log.record(EventKind::Ready, name);
        }
        // A pod that is first seen while it terminates never took calls.
        if now.stopping && before.is_some_and(|before| !before.stopping) {
            event_log.record(EventKind::Stopping, name);
        }
    }

    /// Removes a pod that was deleted. Records an event unless it was already terminating.
    pub(super) fn remove(&mut self, name: &str, event_log: Option<&EventLog>) {
        let before = self.0.remove(name);
        if let (Some(State { stopping: false, .. }), Some(event_log)) = (before, event_log) {
            event_log.record(EventKind::Stopping, name);
        }
    }

    /// Removes a pod whose end is already recorded.
    pub(super) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Returns the pods that take calls.
    pub(super) fn ready(&self) -> impl Iterator<Item = &String> {
        self.0.iter().filter(|(_, state)| state.ready && !state.stopping).map(|(name, _)| name)
    }

    /// Returns the number of pods that are not terminating.
    pub(super) fn not_terminating(&self) -> usize {
        self.0.values().filter(|state| !state.stopping).count()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, ready: bool, stopping: bool) -> Pod {
        let deleted = stopping.then_some("2026-01-01T00:00:00Z");
        serde_json::from_value(json!({
            "metadata": {"name": name, "deletionTimestamp": deleted},
            "spec": {"containers": []},
            "status": {"conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}
        }))
        .unwrap()
    }

    fn recorded(event_log: &EventLog) -> Vec<(EventKind, String)> {
        event_log.events().into_iter().map(|event| (event.what, event.pod.unwrap())).collect()
    }

    #[test]
    fn change_is_recorded_once() {
        let (event_log, mut pods) = (EventLog::new(), Pods::default());
        let log = Some(&event_log);
        pods.list(&[pod("old", true, false)], None);
        for (ready, stopping) in [(false, false), (true, false), (true, false)] {
            pods.update(&pod("new", ready, stopping), log);
        }
        assert_eq!(pods.not_terminating(), 2);
        pods.update(&pod("old", true, true), log);
        pods.update(&pod("old", false, true), log);
        pods.remove("old", log);
        let expected = [(EventKind::Ready, "new".to_owned()), (EventKind::Stopping, "old".to_owned())];
        assert_eq!(recorded(&event_log), expected);
        assert_eq!(pods.ready().collect::<Vec<_>>(), ["new"]);
    }

    #[test]
    fn change_between_two_lists_is_recorded() {
        let (event_log, mut pods) = (EventLog::new(), Pods::default());
        pods.list(&[pod("a", true, false), pod("b", true, false), pod("killed", true, false)], None);
        pods.forget("killed");
        // First seen while it terminates, so it never took calls.
        let now =
            [pod("b", true, false), pod("c", true, false), pod("d", true, true), pod("killed", false, true)];
        pods.list(&now, Some(&event_log));
        let expected = [(EventKind::Stopping, "a".to_owned()), (EventKind::Ready, "c".to_owned())];
        assert_eq!(recorded(&event_log), expected);
        assert_eq!((pods.ready().count(), pods.not_terminating()), (2, 2));
    }
}
