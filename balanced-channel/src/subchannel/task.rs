//! The task of a subchannel: connects, reports to the balancer, and reconnects with backoff.

use std::{future::pending, panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument as _;

use super::{HealthCheck, HealthStatus, ReadySubchannel, Subchannel};
use crate::{
    backoff::{Backoff, BackoffPolicy},
    metrics::{ConnectionMetrics, Disconnect},
    transport::{
        ConnectError, ConnectionEvent, ConnectionLost, ConnectionMonitor, Connector, Http2Client, Http2Config,
    },
};

/// The minimum duration of a working connection. After a shorter one, the task backs off as after a failed attempt.
const MIN_CONNECTION_DURATION: Duration = Duration::from_secs(1);

/// A subchannel's new state, as its task reports it to the balancer.
#[derive(Debug)]
pub(crate) enum SubchannelUpdate {
    /// Connecting. Has the reason why the previous connection takes no more calls, if there was one.
    Connecting {
        lost: Option<String>,
    },
    Ready(Arc<ReadySubchannel>),
    TransientFailure(ConnectError),
    /// READY; true if the peer leaves keepalive PINGs unanswered, false if it responds again.
    Silent(bool),
}

/// A new state of the subchannel `id`. IDs are not reused, so an event of a removed subchannel is never applied to its
/// successor at the same address.
#[derive(Debug)]
pub(crate) struct SubchannelEvent {
    pub(crate) id: u64,
    pub(crate) update: SubchannelUpdate,
}

/// The balancer's handle to the task of a subchannel. Dropping it shuts the subchannel down: the connection takes no
/// further calls, and closes after the last one has ended.
#[derive(Debug)]
pub(crate) struct SubchannelHandle {
    reset_backoff: Arc<Notify>,
    _stop: DropGuard,
}

/// The task of a subchannel. It waits for the connector, the connection, the backoff or the balancer, and ends when the
/// [`SubchannelHandle`] is dropped. Connections with calls in flight stay open until the last one has ended.
pub(crate) struct SubchannelTask<C> {
    pub(crate) id: u64,
    pub(crate) subchannel: Arc<Subchannel>,
    pub(crate) connector: Arc<C>,
    pub(crate) http2: Http2Config,
    pub(crate) backoff: BackoffPolicy,
    pub(crate) health_check: Option<Arc<HealthCheck>>,
    pub(crate) connections: Arc<ConnectionMetrics>,
    pub(crate) events: mpsc::UnboundedSender<SubchannelEvent>,
}

/// The reason why a connection takes no more calls.
struct ConnectionEnd {
    why: String,
    /// True if the server has answered calls and ended the connection with GOAWAY NO_ERROR.
    served: bool,
}

// === impl SubchannelHandle ===

impl SubchannelHandle {
    /// Ends a backoff early.
    pub(crate) fn reset_backoff(&self) {
        // `notify_one` would store a permit if no backoff is running, which would end the next one.
        self.reset_backoff.notify_waiters();
    }
}

// === impl SubchannelTask ===

impl<C: Connector> SubchannelTask<C> {
    pub(crate) fn spawn(self) -> SubchannelHandle {
        let stop = CancellationToken::new();
        let reset_backoff = Arc::new(Notify::new());
        let handle =
            SubchannelHandle { reset_backoff: reset_backoff.clone(), _stop: stop.clone().drop_guard() };
        tokio::spawn(self.run(stop, reset_backoff).in_current_span());
        handle
    }

    async fn run(self, stop: CancellationToken, reset_backoff: Arc<Notify>) {
        let mut backoff = Backoff::new(self.backoff);
        let mut short_connections = 0_u32;
        let mut lost = None;
        loop {
            self.report(SubchannelUpdate::Connecting { lost: lost.take() });
            let began = Instant::now();
            let connecting = self.connect();
            let connected = tokio::select! {
                connected = connecting => connected,
                () = stop.cancelled() => return,
            };
            let why = match connected {
                Ok((client, connection)) => {
                    self.connections.succeeded();
                    let ready_at = Instant::now();
                    let ended = self.serve(client, connection, &stop).await;
                    let Some(ConnectionEnd { why, served }) = ended else { return };
                    // A server may end a connection after a maximum number of calls, which under load is soon. A server
                    // that ends a connection without an answered call gets a backoff.
                    if served || ready_at.elapsed() >= MIN_CONNECTION_DURATION {
                        backoff.reset();
                        short_connections = 0;
                    } else {
                        short_connections += 1;
                    }
                    if short_connections <= 1 {
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
            let wanted = reset_backoff.notified();
            tokio::pin!(wanted);
            // Enabled before the failure is reported, so that a notification in response is not missed.
            wanted.as_mut().enable();
            self.report(SubchannelUpdate::TransientFailure(why));
            tokio::select! {
                () = sleep_until(next) => {}
                () = wanted => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Connects. A panic of the user's connector is a failed attempt, which is repeated after the backoff.
    async fn connect(&self) -> Result<(Http2Client, ConnectionMonitor), ConnectError> {
        let endpoint = &self.subchannel.endpoint;
        let connecting = AssertUnwindSafe(self.http2.connect(&*self.connector, endpoint));
        connecting.catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(address = %endpoint.address, "connector panicked");
            Err(ConnectError::panicked(endpoint))
        })
    }

    /// Watches the connection until it takes no more calls; `None` if the task is stopped first. In both cases calls in
    /// flight continue.
    async fn serve(
        &self,
        client: Http2Client,
        mut connection: ConnectionMonitor,
        stop: &CancellationToken,
    ) -> Option<ConnectionEnd> {
        let ended = {
            let mut health = pin!(self.watch(client));
            loop {
                tokio::select! {
                    change = connection.next() => match change {
                        ConnectionEvent::Silent => self.report(SubchannelUpdate::Silent(true)),
                        ConnectionEvent::Responsive => self.report(SubchannelUpdate::Silent(false)),
                        ConnectionEvent::Draining { reason, answered } => break Some((reason, answered)),
                        // A connection without clients closes by itself.
                        ConnectionEvent::Lost(_) if stop.is_cancelled() => break None,
                        ConnectionEvent::Lost(ConnectionLost { why, disconnect }) => {
                            self.connections.lost(disconnect);
                            return Some(ConnectionEnd { why, served: false });
                        }
                    },
                    () = &mut health => {}
                    () = stop.cancelled() => break None,
                }
            }
        };
        // The health watch has been dropped with the block above; it was a call on this connection.
        let Some((reason, answered)) = ended else {
            self.connections.lost(Disconnect::Shutdown);
            return None;
        };
        self.connections.lost(reason.disconnect());
        if reason.too_many_pings() {
            self.http2.record_too_many_pings(self.subchannel.endpoint.address);
        }
        Some(ConnectionEnd { why: reason.to_string(), served: answered && reason.is_graceful() })
    }

    /// Reports the connection as READY, at once or, with health checks, while its server is healthy. Never returns.
    async fn watch(&self, client: Http2Client) {
        let ready =
            |client| SubchannelUpdate::Ready(Arc::new(ReadySubchannel::new(self.subchannel.clone(), client)));
        let Some(check) = &self.health_check else {
            self.report(ready(client));
            return pending().await;
        };
        self.subchannel.set_health(None);
        let address = self.subchannel.endpoint.address;
        let report = |health| match health {
            HealthStatus::Unknown => self.report(SubchannelUpdate::Connecting { lost: None }),
            HealthStatus::Healthy(name) => {
                self.subchannel.set_health(Some(name));
                self.report(ready(client.clone()));
            }
            HealthStatus::Unhealthy(name, why) => {
                self.subchannel.set_health(name);
                self.report(SubchannelUpdate::TransientFailure(ConnectError::unhealthy(why)));
            }
        };
        check.watch(address, client.clone(), self.backoff, report).await;
    }

    fn report(&self, update: SubchannelUpdate) {
        // Fails if the balancer has ended, in which case `stop` ends this task.
        let _ = self.events.send(SubchannelEvent { id: self.id, update });
    }
}
