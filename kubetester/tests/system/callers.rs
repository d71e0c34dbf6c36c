//! Callers that call without pause, and the outcomes of their calls.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use balanced_channel::{Channel, ChannelSnapshot, Connectivity};
use proto::hello::{Greeting, hello_client::HelloClient};
use service::testing::bounded;
use tokio::{
    task::{JoinSet, yield_now},
    time::sleep,
};
use tonic::Status;

/// The number of calls in flight.
pub(super) const CALLERS: usize = 16;

/// A function that makes one call and returns the pod that answered.
pub(super) type Call =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<String, Status>> + Send>> + Send + Sync>;

/// Callers that make calls until they are dropped.
pub(super) struct Load {
    counts: Arc<Mutex<Counts>>,
    callers: JoinSet<()>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub(super) answered: HashMap<String, u64>,
    pub(super) failed: Vec<String>,
}

impl Load {
    pub(super) fn start(call: &Call) -> Self {
        let counts = Arc::new(Mutex::new(Counts::default()));
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (call, counts) = (call.clone(), counts.clone());
            callers.spawn(async move {
                loop {
                    let outcome = call().await;
                    {
                        let mut counts = counts.lock().unwrap();
                        match outcome {
                            Ok(pod) => *counts.answered.entry(pod).or_default() += 1,
                            Err(status) => counts.failed.push(status.to_string()),
                        }
                    }
                    // A call that fails at once never awaits, and would otherwise block its thread.
                    yield_now().await;
                }
            });
        }
        Self { counts, callers }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts.lock().unwrap().clone()
    }

    /// Waits until `more` further calls have succeeded or failed.
    pub(super) async fn calls(&self, more: u64) -> Counts {
        let ended = |counts: &Counts| counts.answered.values().sum::<u64>() + counts.failed.len() as u64;
        let goal = ended(&self.counts()) + more;
        until(|| ended(&self.counts()) >= goal).await;
        self.counts()
    }

    /// Stops making calls and drops those in flight.
    pub(super) async fn stop(mut self) -> Counts {
        self.callers.shutdown().await;
        self.counts()
    }
}

/// Returns a function that calls over `channel`.
pub(super) fn over(channel: &Channel) -> Call {
    let client = HelloClient::new(channel.clone());
    Arc::new(move || {
        let mut client = client.clone();
        Box::pin(async move { Ok(client.say_hello(Greeting::default()).await?.into_inner().hostname) })
    })
}

/// Makes `count` calls one after the other and returns the pods that responded.
pub(super) async fn in_turn(call: &Call, count: usize) -> HashMap<String, u64> {
    let mut answered = HashMap::new();
    for _ in 0..count {
        *answered.entry(call().await.unwrap()).or_default() += 1;
    }
    answered
}

/// Waits for a condition, at most half a minute.
pub(super) async fn until(condition: impl Fn() -> bool) {
    bounded(async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Waits until `count` of the channel's subchannels are READY.
pub(super) async fn ready(channel: &Channel, count: usize) -> ChannelSnapshot {
    until(|| channel.snapshot().ready() == count).await;
    channel.snapshot()
}

/// Returns the number of calls that a subchannel was given so far, and whether it is READY.
pub(super) fn given(channel: &Channel, address: std::net::SocketAddr) -> (u64, bool) {
    let snapshot = channel.snapshot();
    let subchannel = snapshot.subchannels.iter().find(|subchannel| subchannel.address == address).unwrap();
    (subchannel.started, subchannel.state == Connectivity::Ready)
}
