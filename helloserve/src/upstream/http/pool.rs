//! The connections to the HTTP backend that are kept while they are idle.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::connection::Connection;

/// Idle connections, each kept for a time. The one that came last is used first, so that those which a smaller load
/// no longer needs grow old.
#[derive(Debug)]
pub(super) struct Pool {
    /// How long a connection may be idle.
    patience: Duration,
    idle: Mutex<Idle>,
    /// Told when there is something to watch again.
    filled: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Idle {
    /// The longest idle first.
    connections: VecDeque<(Instant, Connection)>,
    /// Whether the sweeper waits for a connection to grow old. It looks seldom, and so need not be told of each.
    watched: bool,
}

// === impl Pool ===

impl Pool {
    /// Drops what is idle for longer than `patience`, in a task that ends with the pool.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(super) fn new(patience: Duration) -> Arc<Self> {
        let filled = Arc::new(Notify::new());
        let pool = Arc::new(Self { patience, idle: Mutex::default(), filled: filled.clone() });
        tokio::spawn(sweep(Arc::downgrade(&pool), filled));
        pool
    }

    /// A connection that takes a request, as far as can be seen from here.
    pub(super) fn take(&self) -> Option<Connection> {
        loop {
            // The lock is free again when the connection is looked at, or closed.
            let (_, mut connection) = self.lock().connections.pop_back()?;
            if connection.is_open() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose answer has been read to its end, unless it has ended with it.
    pub(super) fn put(&self, mut connection: Connection) {
        if !connection.is_open() {
            return;
        }
        let mut idle = self.lock();
        idle.connections.push_back((Instant::now(), connection));
        let watched = std::mem::replace(&mut idle.watched, true);
        drop(idle);
        if !watched {
            self.filled.notify_one();
        }
    }

    /// Takes out what has been idle for too long, and says when the next will have been, if there is one.
    fn old(&self) -> (Vec<Connection>, Option<Instant>) {
        let now = Instant::now();
        let mut old = Vec::new();
        let mut idle = self.lock();
        while let Some((since, _)) = idle.connections.front() {
            let end = *since + self.patience;
            if end > now {
                return (old, Some(end));
            }
            old.extend(idle.connections.pop_front().map(|(_, connection)| connection));
        }
        idle.watched = false;
        (old, None)
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.filled.notify_one();
    }
}

/// Closes connections as they grow old, for as long as there is a pool.
async fn sweep(pool: Weak<Pool>, filled: Arc<Notify>) {
    while let Some(pool) = pool.upgrade() {
        let (old, next) = pool.old();
        drop((pool, old));
        match next {
            Some(end) => sleep_until(end).await,
            None => filled.notified().await,
        }
    }
}
