//! Schedules the calls of a plan: immediately (closed loop), or when they are due (open loop).

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};

use super::Plan;

/// The time between two checks of the releasing thread whether it should stop.
const MAX_SLEEP: Duration = Duration::from_millis(20);

/// Hands out the calls of a plan to any number of callers.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    end: Option<Instant>,
    /// The number of calls to hand out.
    calls: u64,
    /// The number of requests for a call. Requests beyond `calls` get none.
    taken: AtomicU64,
    stopped: AtomicBool,
    /// The number of calls that were due and not taken when the schedule was stopped.
    unsent: AtomicU64,
    schedule: Option<Schedule>,
}

/// An open loop: call number n is due at `start + n * interval`.
#[derive(Debug)]
struct Schedule {
    interval: Duration,
    callers: usize,
    /// One permit for each call that is due.
    due: Semaphore,
}

// === impl Pace ===

impl Pace {
    pub(super) fn new(plan: &Plan, callers: usize, start: Instant) -> Self {
        let schedule = plan.rate.map(|rate| Schedule {
            interval: Duration::from_secs_f64(1.0 / rate),
            callers,
            due: Semaphore::new(0),
        });
        let in_time = match (plan.rate, plan.duration) {
            (Some(rate), Some(duration)) => (rate * duration.as_secs_f64()).round() as u64,
            _ => u64::MAX,
        };
        Self {
            start,
            end: plan.duration.map(|duration| start + duration),
            calls: plan.calls.unwrap_or(u64::MAX).min(in_time),
            taken: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            unsent: AtomicU64::new(0),
            schedule,
        }
    }

    /// Waits for the next call and returns the time when it is due; `None` if there are no more calls.
    pub(super) async fn next(&self) -> Option<Instant> {
        let Some(schedule) = &self.schedule else { return self.next_at_once() };
        schedule.due.acquire().await.ok()?.forget();
        let number = self.take()?;
        Some(self.start + schedule.due_after(number))
    }

    pub(super) fn start(&self) -> Instant {
        self.start
    }

    /// Returns the end of the plan, if it has a duration.
    pub(super) fn end(&self) -> Option<Instant> {
        self.end
    }

    /// Stops handing out calls.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(schedule) = &self.schedule {
            // Excludes calls that callers already wait for. Read before the releasing thread adds its final permits.
            let waiting = schedule.due.available_permits() as u64;
            schedule.due.close();
            let due = schedule.due_until(self.start.elapsed()).min(self.calls);
            let unsent = due.saturating_sub(self.taken.load(Ordering::Relaxed));
            self.unsent.store(unsent.min(waiting), Ordering::Relaxed);
        }
    }

    /// Returns the number of calls that were due when the schedule was stopped, but for which no caller was free.
    pub(super) fn unsent(&self) -> u64 {
        self.unsent.load(Ordering::Relaxed)
    }

    /// Releases the calls of an open loop when they are due. It blocks its thread, because tokio's timer has a
    /// resolution of milliseconds and calls that start late would look slow.
    pub(super) fn release(&self) {
        let Some(schedule) = &self.schedule else { return };
        let mut released = 0;
        while released < self.calls && !schedule.due.is_closed() {
            let due = schedule.due_until(self.start.elapsed()).min(self.calls);
            schedule.due.add_permits(usize::try_from(due - released).unwrap_or(usize::MAX >> 4));
            released = due;
            let next = (self.start + schedule.due_after(released)).saturating_duration_since(Instant::now());
            thread::sleep(next.min(MAX_SLEEP));
        }
        // One more permit for each caller, which wakes it up to find that there are no more calls.
        schedule.due.add_permits(schedule.callers);
    }

    fn next_at_once(&self) -> Option<Instant> {
        let now = Instant::now();
        if self.stopped.load(Ordering::Relaxed) || self.end.is_some_and(|end| now >= end) {
            return None;
        }
        self.take().map(|_| now)
    }

    fn take(&self) -> Option<u64> {
        Some(self.taken.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < self.calls)
    }
}

// === impl Schedule ===

impl Schedule {
    fn due_after(&self, number: u64) -> Duration {
        Duration::from_secs_f64(self.interval.as_secs_f64() * number as f64)
    }

    /// Returns the number of calls that are due once `elapsed` has passed. The first call is due at once.
    fn due_until(&self, elapsed: Duration) -> u64 {
        (elapsed.as_secs_f64() / self.interval.as_secs_f64()) as u64 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn released_calls_without_a_free_caller_are_unsent() {
        let plan = Plan { calls: None, duration: None, rate: Some(1000.0), timeout: Duration::from_secs(1) };
        for released in [0, 5] {
            // A second has passed, so that a thousand calls are due.
            let pace = Pace::new(&plan, 2, Instant::now() - Duration::from_secs(1));
            if let Some(schedule) = &pace.schedule {
                schedule.due.add_permits(released);
            }
            pace.stop();
            assert_eq!(pace.unsent(), released as u64);
            assert!(pace.next().await.is_none(), "no more calls are handed out");
        }
    }
}
