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
    call_times: Mutex<CallTimes>,
}

/// The times when calls ended.
#[derive(Debug, Clone, Default)]
pub struct CallTimes {
    /// The successful calls of each pod.
    pub pods: HashMap<String, Vec<f64>>,
    /// The successful calls whose answers do not name their pod.
    pub unnamed: Vec<f64>,
    /// The failed calls.
    pub failures: Vec<f64>,
}

/// A caller whose calls are recorded.
pub struct Recorded<C> {
    caller: C,
    success_log: Arc<SuccessLog>,
}

/// A call in flight. If it is dropped before its outcome is known, it has timed out and counts as failed.
struct InFlight<'a>(Option<&'a SuccessLog>);

// === impl SuccessLog ===

impl SuccessLog {
    /// Creates an empty log.
    pub fn new(start: Instant) -> Self {
        Self { start, call_times: Mutex::default() }
    }

    /// Wraps `callers` so that their calls are recorded.
    pub fn wrap<C: Call>(self: &Arc<Self>, callers: Vec<C>) -> Vec<Recorded<C>> {
        callers.into_iter().map(|caller| Recorded { caller, success_log: self.clone() }).collect()
    }

    /// Returns all recorded times.
    pub fn call_times(&self) -> CallTimes {
        self.lock().clone()
    }

    /// Returns whether any call succeeded.
    pub fn any_success(&self) -> bool {
        let call_times = self.lock();
        !call_times.pods.is_empty() || !call_times.unnamed.is_empty()
    }

    /// Returns the pods that have answered.
    pub fn pods(&self) -> Vec<String> {
        self.lock().pods.keys().cloned().collect()
    }

    /// Returns whether `pod` has answered after `at`.
    pub fn has_success_after(&self, pod: &str, at: f64) -> bool {
        let call_times = self.lock();
        // The latest times are at or near the end.
        call_times.pods.get(pod).is_some_and(|times| times.iter().rev().take(64).any(|time| *time > at))
    }

    /// Returns the number of calls that `pod` has answered.
    pub fn calls(&self, pod: &str) -> usize {
        self.lock().pods.get(pod).map_or(0, Vec::len)
    }

    fn record(&self, outcome: &Outcome) {
        let at = self.start.elapsed().as_secs_f64();
        let mut call_times = self.lock();
        match &outcome.pod {
            _ if outcome.error.is_some() => call_times.failures.push(at),
            Some(pod) => match call_times.pods.get_mut(pod) {
                Some(times) => times.push(at),
                None => drop(call_times.pods.insert(pod.clone(), vec![at])),
            },
            None => call_times.unnamed.push(at),
        }
    }

    /// Locks the call_times. Poisoning is ignored because no panic can leave them inconsistent.
    fn lock(&self) -> MutexGuard<'_, CallTimes> {
        self.call_times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Recorded ===

impl<C: Call> Call for Recorded<C> {
    async fn call(&mut self) -> Outcome {
        let mut in_flight = InFlight(Some(&self.success_log));
        let outcome = self.caller.call().await;
        in_flight.0 = None;
        self.success_log.record(&outcome);
        outcome
    }
}

// === impl InFlight ===

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(success_log) = self.0 {
            success_log.record(&Outcome { error: Some(String::new()), ..Outcome::default() });
        }
    }
}
