//! The timer of an HTTP/1 connection. A request's head has a deadline, which nearly never passes: setting one in the
//! runtime's timer for each request, and taking it out again, would cost more than all the deadlines ever do.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt::{Sleep, Timer};
use tokio::time;

/// How hyper tells the time. It comes from the runtime's clock, which tests stop.
#[expect(clippy::disallowed_types, reason = "hyper's trait has it")]
type HyperInstant = std::time::Instant;

/// One for each connection, which has one deadline at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct HeadTimer(Arc<Alarm>);

/// The timer of the runtime that wakes the connection: no later than its deadline, and mostly too early. Then it is
/// set to what the deadline is by that time.
#[derive(Debug, Default)]
struct Alarm(Mutex<Option<Pin<Box<time::Sleep>>>>);

/// A deadline.
struct Until {
    deadline: time::Instant,
    alarm: Arc<Alarm>,
}

// === impl HeadTimer ===

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: HyperInstant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Until { deadline: deadline.into(), alarm: Arc::clone(&self.0) })
    }

    fn now(&self) -> HyperInstant {
        time::Instant::now().into_std()
    }
}

// === impl Until ===

impl Sleep for Until {}

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut alarm = self.alarm.0.lock().unwrap_or_else(PoisonError::into_inner);
        let alarm = alarm.get_or_insert_with(|| Box::pin(time::sleep_until(self.deadline)));
        if alarm.deadline() > self.deadline {
            alarm.as_mut().reset(self.deadline);
        }
        loop {
            ready!(alarm.as_mut().poll(cx));
            if alarm.deadline() >= self.deadline {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(self.deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const HEAD: Duration = Duration::from_secs(30);

    /// Waits until the deadline of one head, as a connection does; how long that was.
    async fn waits(timer: &HeadTimer) -> Duration {
        let start = time::Instant::now();
        timer.sleep(HEAD).await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn each_deadline_counts_from_its_own_start() {
        let timer = HeadTimer::default();
        for _ in 0..1000 {
            let mut given_up = timer.sleep(HEAD);
            assert!(given_up.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            time::advance(Duration::from_secs(1)).await;
        }
        // Timers of the runtime are exact to the millisecond.
        assert_eq!(waits(&timer).await.as_secs(), 30);
        assert_eq!(waits(&timer).await.as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_deadline_is_kept_too() {
        let timer = HeadTimer::default();
        let mut later = timer.sleep(2 * HEAD);
        assert!(later.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(waits(&timer).await.as_secs(), 30);
    }
}
