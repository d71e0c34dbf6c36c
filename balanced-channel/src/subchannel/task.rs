//! The task of a subchannel: connects, tells the balancer, and connects again with backoff.

use std::{future::pending, pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Health, HealthCheck, Ready, Subchannel};
use crate::{
    backoff::{Backoff, BackoffPolicy},
    metrics::{Connections, Disconnect},
    transport::{Change, ConnectError, Connection, Connector, Http2, Lost, Sender},
};

/// A connection that lasts less than this did not work: the next ones wait as after a failure.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// A subchannel's new state, as its task tells it to the balancer.
#[derive(Debug)]
pub(crate) enum State {
    /// Connecting, and why the connection before took no more calls, if there was one.
    Connecting {
        lost: Option<String>,
    },
    Ready(Arc<Ready>),
    TransientFailure(ConnectError),
    /// Still READY, but it answers no keepalive ping; or it does again.
    Silent(bool),
}

/// A state, and whose it is. Numbers are never used twice, so news of a removed subchannel cannot be
/// mistaken for that of its successor at the same address.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) number: u64,
    pub(crate) state: State,
}

/// The balancer's hold on a subchannel's task. Dropping it shuts the subchannel down: the
/// connection takes no further calls and ends after its last one.
#[derive(Debug)]
pub(crate) struct Handle {
    try_now: Arc<Notify>,
    _stop: DropGuard,
}

/// The task. It waits for the connector, the connection, the backoff or the balancer; it ends when
/// the [`Handle`] is dropped. Connections that have calls in flight then go on to their last one.
pub(crate) struct Task<C> {
    pub(crate) number: u64,
    pub(crate) subchannel: Arc<Subchannel>,
    pub(crate) connector: Arc<C>,
    pub(crate) http2: Http2,
    pub(crate) backoff: BackoffPolicy,
    pub(crate) health_check: Option<Arc<HealthCheck>>,
    pub(crate) error_penalty: Option<f64>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) events: mpsc::UnboundedSender<Event>,
}

/// How a connection came to take no more calls.
struct Ended {
    why: String,
    /// The server said GOAWAY, and that nothing is wrong.
    in_order: bool,
}

// === impl Handle ===

impl Handle {
    /// Cuts a backoff short.
    pub(crate) fn try_now(&self) {
        // Not `notify_one`: a permit kept for later would cut the next backoff instead of this one.
        self.try_now.notify_waiters();
    }
}

// === impl Task ===

impl<C: Connector> Task<C> {
    pub(crate) fn spawn(self) -> Handle {
        let stop = CancellationToken::new();
        let try_now = Arc::new(Notify::new());
        let handle = Handle { try_now: try_now.clone(), _stop: stop.clone().drop_guard() };
        tokio::spawn(self.run(stop, try_now));
        handle
    }

    async fn run(self, stop: CancellationToken, try_now: Arc<Notify>) {
        let mut backoff = Backoff::new(self.backoff);
        let mut short_lives = 0_u32;
        let mut lost = None;
        loop {
            self.tell(State::Connecting { lost: lost.take() });
            let began = Instant::now();
            let connecting = self.http2.connect(&*self.connector, &self.subchannel.endpoint);
            let connected = tokio::select! {
                connected = connecting => connected,
                () = stop.cancelled() => return,
            };
            let why = match connected {
                Ok((sender, connection)) => {
                    self.connections.succeeded();
                    let (ready_at, before) = (Instant::now(), self.subchannel.calls.started());
                    let ended = self.serve(sender, connection, &stop).await;
                    let Some(Ended { why, in_order }) = ended else { return };
                    // A server may end a connection after so many calls, and under load that is soon.
                    let used = in_order && self.subchannel.calls.started() > before;
                    if used || ready_at.elapsed() >= SHORT_LIFE {
                        backoff.reset();
                        short_lives = 0;
                    } else {
                        short_lives += 1;
                    }
                    if short_lives <= 1 {
                        lost = Some(why);
                        continue;
                    }
                    ConnectError::short_lived(&self.subchannel.endpoint, ready_at.elapsed(), &why)
                }
                Err(error) => {
                    self.connections.failed();
                    error
                }
            };
            let next = began + backoff.wait();
            let wanted = try_now.notified();
            tokio::pin!(wanted);
            // Enabled before the balancer can hear of the failure, so its answer is not missed.
            wanted.as_mut().enable();
            self.tell(State::TransientFailure(why));
            tokio::select! {
                () = sleep_until(next) => {}
                () = wanted => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Serves until the connection takes no more calls; `None` after being stopped. Either way the
    /// calls in flight go on to their end.
    async fn serve(
        &self,
        sender: Sender,
        mut connection: Connection,
        stop: &CancellationToken,
    ) -> Option<Ended> {
        let ended = {
            let mut health = pin!(self.watch(sender));
            loop {
                tokio::select! {
                    change = connection.next() => match change {
                        Change::Silent => self.tell(State::Silent(true)),
                        Change::Heard => self.tell(State::Silent(false)),
                        Change::Draining(leaving) => break Some(leaving),
                        // Without callers, a connection ends by itself.
                        Change::Lost(_) if stop.is_cancelled() => break None,
                        Change::Lost(Lost { why, disconnect }) => {
                            self.connections.lost(disconnect);
                            return Some(Ended { why, in_order: false });
                        }
                    },
                    () = &mut health => {}
                    () = stop.cancelled() => break None,
                }
            }
        };
        // The health watch is over; it was a call on this connection too.
        let Some(leaving) = ended else {
            self.connections.lost(Disconnect::Shutdown);
            return None;
        };
        self.connections.lost(leaving.disconnect());
        if leaving.too_many_pings() {
            self.http2.complain(self.subchannel.endpoint.address);
        }
        Some(Ended { why: leaving.to_string(), in_order: leaving.in_order() })
    }

    /// Tells that the connection is READY: at once, or as the health of its server has it. Does not
    /// end.
    async fn watch(&self, sender: Sender) {
        let ready =
            |sender| State::Ready(Arc::new(Ready::new(self.subchannel.clone(), sender, self.error_penalty)));
        let Some(check) = &self.health_check else {
            self.tell(ready(sender));
            return pending().await;
        };
        self.subchannel.note_health(None);
        let address = self.subchannel.endpoint.address;
        let tell = |health| match health {
            Health::Asked => self.tell(State::Connecting { lost: None }),
            Health::Good(name) => {
                self.subchannel.note_health(Some(name));
                self.tell(ready(sender.clone()));
            }
            Health::Bad(name, why) => {
                self.subchannel.note_health(name);
                self.tell(State::TransientFailure(ConnectError::unhealthy(why)));
            }
        };
        check.watch(address, sender.clone(), self.backoff, tell).await;
    }

    fn tell(&self, state: State) {
        // The balancer may be gone; then `stop` ends this task.
        let _ = self.events.send(Event { number: self.number, state });
    }
}
