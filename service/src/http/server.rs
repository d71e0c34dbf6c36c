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
    rejection::reject,
    timeouts,
};
use crate::{Instance, Shutdown, metrics::ConnectionMetrics, open_files};

/// The maximum number of connections that are being rejected with a response. Further ones are closed without one.
const MAX_REJECTIONS: usize = 16;

/// The shortest time between two warnings.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The connections of one server.
struct Connections {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    rejections: Arc<Semaphore>,
    last_warning: Option<Instant>,
}

/// Serves `router` on `listener` until the instance shuts down and the last connection has ended. Dropping the future
/// closes every connection.
pub async fn serve(listener: TcpListener, router: Router, instance: &Instance, config: ConnectionConfig) {
    let metrics = instance.metrics.connections("service");
    serve_on(listener, router, instance.shutdown.clone(), config, metrics).await;
}

/// Does the same as [`serve`] with a given shutdown and given metrics.
pub(crate) async fn serve_on(
    listener: TcpListener,
    router: Router,
    shutdown: Shutdown,
    config: ConnectionConfig,
    metrics: ConnectionMetrics,
) {
    let max = open_files::connections(config.max_connections.get());
    if max < config.max_connections.get() {
        let configured = config.max_connections.get();
        warn!(
            max_connections = max,
            configured, "the limit on open files lowers MAX_CONNECTIONS; raise it (ulimit -n)"
        );
    }
    metrics.set_limit(max);
    let shared = Shared {
        builder: connection::builder(&config),
        config,
        // Converts the handlers to routes once; otherwise axum does it for each request.
        router: router.with_state(()),
        shutdown: shutdown.clone(),
        metrics,
        permits: Arc::new(Semaphore::new(max)),
    };
    let mut connections = Connections {
        shared: Arc::new(shared),
        tasks: JoinSet::new(),
        rejections: Arc::new(Semaphore::new(MAX_REJECTIONS)),
        last_warning: None,
    };
    loop {
        tokio::select! {
            () = shutdown.closing() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _peer)) => connections.spawn(stream),
                Err(error) => connections.accept_failed(&error).await,
            },
            // Removes ended connections from the set.
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
        if let Ok(permit) = Arc::clone(&shared.permits).try_acquire_owned() {
            let open = shared.metrics.opened();
            self.tasks.spawn(async move {
                connection::run(stream, shared).await;
                drop((open, permit));
            });
            return;
        }
        shared.metrics.refused();
        if self.may_warn() {
            warn!("connection rejected: MAX_CONNECTIONS are open");
        }
        if let Ok(permit) = Arc::clone(&self.rejections).try_acquire_owned() {
            self.tasks.spawn(async move {
                reject(stream, shared.builder.clone()).await;
                drop(permit);
            });
        }
    }

    /// Serves the connections that the kernel has completed but that were not accepted yet; closing the listener would
    /// reset them. Accepts on the plain socket, because tokio's listener stops at its budget.
    fn spawn_backlog(&mut self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((stream, _peer)) = listener.accept() {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                self.spawn(stream);
            }
        }
    }

    /// Ignores clients that gave up before they were accepted. After any other error, such as no free file descriptor,
    /// waits before the next attempt.
    async fn accept_failed(&mut self, error: &io::Error) {
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            return;
        }
        self.shared.metrics.accept_failed();
        if self.may_warn() {
            warn!(%error, "accepting a connection failed");
        }
        time::sleep(timeouts::ACCEPT_BACKOFF).await;
    }

    fn may_warn(&mut self) -> bool {
        let due = self.last_warning.is_none_or(|at| at.elapsed() >= LOG_INTERVAL);
        if due {
            self.last_warning = Some(Instant::now());
        }
        due
    }
}
