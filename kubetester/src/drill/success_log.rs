//! Records the times of a drill's calls, for comparison with its events.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use crate::engine::{Call, Outcome};

/// The times of all successes and failures so far, in seconds from the start. A drill makes at most some thousand calls
/// a second, so a lock per call is cheap enough.
#[derive(Debug)]
pub struct SuccessLog {
    start: Instant,
    steps: Mutex<Steps>,
}

/// The times when calls ended.
#[derive(Debug, Clone, Default)]
pub struct Steps {
    /// The successful calls of each pod.
    pub pods: HashMap<String, Vec<f64>>,
    /// The successful calls whose answers do not name their pod.
    pub unnamed: Vec<f64>,
    /// The failed calls.
    pub failures: Vec<f64>,
}

/// A caller whose calls are recorded.
pub struct Logged<C> {
    caller: C,
    success_log: Arc<SuccessLog>,
}

/// A call in flight. If it is dropped before its outcome is known, it has timed out and counts as failed.
struct UnderWay<'a>(Option<&'a SuccessLog>);

// === impl SuccessLog ===

impl SuccessLog {
    /// Creates an empty log.
    pub fn new(start: Instant) -> Self {
        Self { start, steps: Mutex::default() }
    }

    /// Wraps `callers` so that their calls are recorded.
    pub fn follow<C: Call>(self: &Arc<Self>, callers: Vec<C>) -> Vec<Logged<C>> {
        callers.into_iter().map(|caller| Logged { caller, success_log: self.clone() }).collect()
    }

    /// Returns all recorded times.
    pub fn steps(&self) -> Steps {
        self.lock().clone()
    }

    /// Returns whether any call succeeded.
    pub fn any_success(&self) -> bool {
        let steps = self.lock();
        !steps.pods.is_empty() || !steps.unnamed.is_empty()
    }

    /// Returns the pods that have answered.
    pub fn pods(&self) -> Vec<String> {
        self.lock().pods.keys().cloned().collect()
    }

    /// Returns whether `pod` has answered after `at`.
    pub fn answered_after(&self, pod: &str, at: f64) -> bool {
        let steps = self.lock();
        // The latest times are at or near the end.
        steps.pods.get(pod).is_some_and(|times| times.iter().rev().take(64).any(|time| *time > at))
    }

    /// Returns the number of calls that `pod` has answered.
    pub fn calls(&self, pod: &str) -> usize {
        self.lock().pods.get(pod).map_or(0, Vec::len)
    }

    fn record(&self, outcome: &Outcome) {
        let at = self.start.elapsed().as_secs_f64();
        let mut steps = self.lock();
        match &outcome.pod {
            _ if outcome.error.is_some() => steps.failures.push(at),
            Some(pod) => match steps.pods.get_mut(pod) {
                Some(times) => times.push(at),
                None => drop(steps.pods.insert(pod.clone(), vec![at])),
            },
            None => steps.unnamed.push(at),
        }
    }

    /// Locks the steps. Poisoning is ignored because no panic can leave them inconsistent.
    fn lock(&self) -> MutexGuard<'_, Steps> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Logged ===

impl<C: Call> Call for Logged<C> {
    async fn call(&mut self) -> Outcome {
        let mut under_way = UnderWay(Some(&self.success_log));
        let outcome = self.caller.call().await;
        under_way.0 = None;
        self.success_log.record(&outcome);
        outcome
    }
}

// === impl UnderWay ===

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(success_log) = self.0 {
            success_log.record(&Outcome { error: Some(String::new()), ..Outcome::default() });
        }
    }
}
