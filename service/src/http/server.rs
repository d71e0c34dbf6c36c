//! The accept loop.

use std::{io, sync::Arc};

use axum::Router;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{self, Duration, Instant},
};
use tracing::{debug, warn};

use super::{
    ConnectionConfig,
    connection::{self, Shared},
    rejection::refuse,
    waits,
};
use crate::{Instance, Shutdown, metrics::ConnectionMetrics, open_files};

/// Connections that are refused at once. Further ones are closed without a response.
const REFUSALS: usize = 16;

/// The time between two log lines about the same limit.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The connections of one server.
struct Connections {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    refusals: Arc<Semaphore>,
    logged: Option<Instant>,
}

/// Serves `router` on `listener` until the instance shuts down and the last connection has ended. Dropping the future
/// closes every connection.
pub async fn serve(listener: TcpListener, router: Router, instance: &Instance, config: ConnectionConfig) {
    let metrics = instance.metrics.connections("service");
    serve_on(listener, router, instance.shutdown.clone(), config, metrics).await;
}

/// [`serve`], with a shutdown and metrics of the caller's choice.
pub(crate) async fn serve_on(
    listener: TcpListener,
    router: Router,
    shutdown: Shutdown,
    config: ConnectionConfig,
    metrics: ConnectionMetrics,
) {
    let max = open_files::connections(config.max_connections.get());
    if max < config.max_connections.get() {
        let wanted = config.max_connections.get();
        warn!(
            max_connections = max,
            wanted, "the limit on open files lowers MAX_CONNECTIONS; raise it (ulimit -n)"
        );
    }
    metrics.set_limit(max);
    let shared = Shared {
        builder: connection::builder(&config),
        config,
        // Without it, axum would make each handler a route again for each request.
        router: router.with_state(()),
        shutdown: shutdown.clone(),
        metrics,
        slots: Arc::new(Semaphore::new(max)),
    };
    let mut connections = Connections {
        shared: Arc::new(shared),
        tasks: JoinSet::new(),
        refusals: Arc::new(Semaphore::new(REFUSALS)),
        logged: None,
    };
    loop {
        tokio::select! {
            () = shutdown.closing() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _peer)) => connections.spawn(stream),
                Err(error) => connections.accept_failed(&error).await,
            },
            // Ended connections are removed as they end.
            Some(_ended) = connections.tasks.join_next() => {}
        }
    }
    connections.spawn_backlog(listener);
    debug!(connections = connections.tasks.len(), "waiting for connections to end");
    while connections.tasks.join_next().await.is_some() {}
}

// === impl Connections ===

impl Connections {
    fn spawn(&mut self, stream: TcpStream) {
        let shared = Arc::clone(&self.shared);
        if let Ok(slot) = Arc::clone(&shared.slots).try_acquire_owned() {
            let open = shared.metrics.opened();
            self.tasks.spawn(async move {
                connection::run(stream, shared).await;
                drop((open, slot));
            });
            return;
        }
        shared.metrics.refused();
        if self.may_log() {
            warn!("connection refused: MAX_CONNECTIONS are open");
        }
        if let Ok(slot) = Arc::clone(&self.refusals).try_acquire_owned() {
            self.tasks.spawn(async move {
                refuse(stream, shared.builder.clone()).await;
                drop(slot);
            });
        }
    }

    /// Serves the connections that the kernel has completed; closing the socket would reset them. The runtime's
    /// listener accepts only as many as its budget allows, and those that it has been told of.
    fn spawn_backlog(&mut self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((stream, _peer)) = listener.accept() {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                self.spawn(stream);
            }
        }
    }

    /// Clients that give up before they are accepted are not the server's fault. Without file descriptors it waits for
    /// some to be closed.
    async fn accept_failed(&mut self, error: &io::Error) {
        let theirs = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset];
        if theirs.contains(&error.kind()) {
            return;
        }
        self.shared.metrics.accept_failed();
        if self.may_log() {
            warn!(%error, "accepting a connection failed");
        }
        time::sleep(waits::ACCEPT_BACKOFF).await;
    }

    fn may_log(&mut self) -> bool {
        let due = self.logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL);
        if due {
            self.logged = Some(Instant::now());
        }
        due
    }
}
