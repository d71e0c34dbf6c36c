//! Load: calls that start at a fixed rate, independent of the outcome of earlier calls.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use balanced_channel::Channel;
use proto::hello::{Greeting, hello_client::HelloClient};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Status};

/// The maximum time that a test waits, in simulated time.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The rate and the number of calls.
#[derive(Clone, Copy)]
pub struct Load {
    /// The number of calls that start at once, every `every`.
    pub burst: u32,
    pub every: Duration,
    /// The time that the backend takes for a call, in milliseconds.
    pub work_ms: u64,
    pub deadline: Option<Duration>,
}

/// A running load.
pub struct Running {
    stop: CancellationToken,
    calls: TaskTracker,
    stats: Arc<Mutex<CallStats>>,
}

/// The outcomes of the calls.
#[derive(Clone, Debug, Default)]
pub struct CallStats {
    pub succeeded: u64,
    pub by_address: BTreeMap<String, u64>,
    /// The times and statuses of failed calls.
    pub failed: Vec<(Instant, Status)>,
    pub slowest_success: Duration,
    /// The number of successes that took at least 50 ms longer than the work of the backend.
    pub slow: u64,
    in_flight: u64,
    pub most_in_flight: u64,
}

// === impl Load ===

impl Default for Load {
    /// Returns a load of 2 000 calls per second that take 20 ms each.
    fn default() -> Self {
        Self { burst: 2, every: Duration::from_millis(1), work_ms: 20, deadline: None }
    }
}

impl Load {
    pub fn start(self, channel: &Channel) -> Running {
        let running =
            Running { stop: CancellationToken::new(), calls: TaskTracker::new(), stats: Arc::default() };
        let (stop, calls, stats) = (running.stop.clone(), running.calls.clone(), running.stats.clone());
        let channel = channel.clone();
        let pace = async move {
            let mut clock = interval(self.every);
            clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
            loop {
                clock.tick().await;
                for _ in 0..self.burst {
                    calls.spawn(self.call(channel.clone(), stats.clone()));
                }
            }
        };
        running.calls.spawn(stop.run_until_cancelled_owned(pace));
        running
    }

    async fn call(self, channel: Channel, stats: Arc<Mutex<CallStats>>) {
        {
            let mut stats = stats.lock().unwrap();
            stats.in_flight += 1;
            stats.most_in_flight = stats.most_in_flight.max(stats.in_flight);
        }
        let began = Instant::now();
        let outcome = call(&channel, self.work_ms, self.deadline).await;
        let mut stats = stats.lock().unwrap();
        stats.in_flight -= 1;
        match outcome {
            Ok(address) => {
                stats.succeeded += 1;
                let took = began.elapsed();
                stats.slowest_success = stats.slowest_success.max(took);
                stats.slow += u64::from(took > Duration::from_millis(self.work_ms + 50));
                *stats.by_address.entry(address).or_default() += 1;
            }
            Err(status) => stats.failed.push((Instant::now(), status)),
        }
    }
}

// === impl Running ===

impl Running {
    /// Returns the outcomes of the calls that have ended.
    pub fn stats(&self) -> CallStats {
        self.stats.lock().unwrap().clone()
    }

    /// Stops starting calls, and waits for those in flight.
    pub async fn stop(self) -> CallStats {
        self.stop.cancel();
        self.calls.close();
        self.calls.wait().await;
        self.stats()
    }
}

impl CallStats {
    /// Fails the test if a call failed, or if there were fewer than `calls`.
    pub fn assert_all_succeeded(&self, calls: u64) {
        if let Some((_, status)) = self.failed.first() {
            panic!(
                "{} of {} calls failed: {status}",
                self.failed.len(),
                self.failed.len() as u64 + self.succeeded
            );
        }
        assert!(self.succeeded >= calls, "only {} calls were made", self.succeeded);
    }
}

/// Makes one call. Returns the address of the backend that responded.
pub async fn call(channel: &Channel, work_ms: u64, deadline: Option<Duration>) -> Result<String, Status> {
    let mut request = Request::new(Greeting { name: work_ms.to_string() });
    if let Some(deadline) = deadline {
        request.set_timeout(deadline);
    }
    let mut client = HelloClient::new(channel.clone());
    let answer = timeout(TEST_TIMEOUT, client.say_hello(request)).await.expect("a call must end");
    Ok(answer?.into_inner().hostname)
}

/// Waits until `look` returns a value.
pub async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < TEST_TIMEOUT, "never saw {what}");
        sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until the channel has `count` subchannels and all are READY.
pub async fn ready(channel: &Channel, count: usize) {
    until(&format!("{count} READY"), || {
        let snapshot = channel.snapshot();
        (snapshot.ready() == count && snapshot.subchannels.len() == count).then_some(())
    })
    .await;
}
