//! A subchannel: one endpoint, at most one connection that takes calls, and its connectivity state.
//!
//! Each has a task of its own that connects, watches the connection, and connects again with
//! backoff. It tells the balancer every change of state and knows nothing of the other subchannels.

use std::{
    future::pending,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    backoff::{Backoff, BackoffPolicy},
    calls::Calls,
    health::{Health, HealthCheck},
    load_report::Load,
    metrics::{Connections, Disconnect},
    outlier::Streak,
    resolver::Endpoint,
    transport::{Change, ConnectError, Connection, Connector, Http2, Lost, Sender},
};

/// A connection that lasts less than this did not work: the next ones wait as after a failure.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// The states of the [gRPC connectivity document].
///
/// [gRPC connectivity document]: https://github.com/grpc/grpc/blob/master/doc/connectivity-semantics-and-api.md
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Connectivity {
    /// Not connected, and not trying.
    Idle,
    /// Trying to connect.
    Connecting,
    /// Connected; calls may be sent.
    Ready,
    /// Failed to connect; tries again after a backoff.
    TransientFailure,
    /// Never to be used again; calls in flight may be finishing.
    Shutdown,
}

/// What calls, pickers, the balancer and snapshots know together of one subchannel.
#[derive(Debug)]
pub(crate) struct Subchannel {
    pub(crate) endpoint: Endpoint,
    pub(crate) calls: Calls,
    pub(crate) streak: Streak,
    /// Written by the balancer and read by snapshots; no call touches it.
    status: Mutex<Status>,
}

/// What a snapshot tells of a subchannel's state.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) state: Connectivity,
    pub(crate) since: Instant,
    pub(crate) last_error: Option<String>,
    pub(crate) ejected_until: Option<Instant>,
    pub(crate) silent: bool,
    pub(crate) health: Option<&'static str>,
}

/// A subchannel that is READY, with the connection that its calls go to.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) subchannel: Arc<Subchannel>,
    pub(crate) sender: Sender,
    pub(crate) since: Instant,
    /// What the backend reports, for a policy that reads it.
    pub(crate) load: Option<Load>,
}

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

// === impl Connectivity ===

impl Connectivity {
    /// The name in the gRPC document, such as `TRANSIENT_FAILURE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "IDLE",
            Self::Connecting => "CONNECTING",
            Self::Ready => "READY",
            Self::TransientFailure => "TRANSIENT_FAILURE",
            Self::Shutdown => "SHUTDOWN",
        }
    }
}

// === impl Subchannel ===

impl Subchannel {
    pub(crate) fn new(endpoint: Endpoint, streak: Streak) -> Self {
        let status = Status {
            state: Connectivity::Idle,
            since: Instant::now(),
            last_error: None,
            ejected_until: None,
            silent: false,
            health: None,
        };
        Self { endpoint, calls: Calls::default(), streak, status: Mutex::new(status) }
    }

    pub(crate) fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes a state; `error` says why it is TRANSIENT_FAILURE.
    pub(crate) fn enter(&self, state: Connectivity, error: Option<String>) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if status.state != state {
            status.state = state;
            status.since = Instant::now();
        }
        if error.is_some() {
            status.last_error = error;
        }
    }

    /// Notes what its server says of its health.
    pub(crate) fn note_health(&self, health: Option<&'static str>) {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).health = health;
    }

    /// Notes why calls leave it out.
    pub(crate) fn avoid(&self, ejected_until: Option<Instant>, silent: bool) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        (status.ejected_until, status.silent) = (ejected_until, silent);
    }
}

// === impl Ready ===

impl Ready {
    /// READY from now on. Load reports are read if there is an `error_penalty` to read them with.
    pub(crate) fn new(subchannel: Arc<Subchannel>, sender: Sender, error_penalty: Option<f64>) -> Self {
        Self { subchannel, sender, since: Instant::now(), load: error_penalty.map(Load::new) }
    }

    /// Whether the connection takes calls, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }
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
