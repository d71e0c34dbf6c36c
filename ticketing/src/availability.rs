//! Migrates the database, then probes it, and tracks whether it can be used.

use std::{sync::Arc, time::Duration};

use service::Readiness;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{self, timeout},
};
use tonic::Status;
use tracing::{info, warn};

use crate::store::{Error, Store};

/// The time between probes.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// The time that the start waits for the first migration, so that a program with a database is ready from the first call.
const FIRST_MIGRATION: Duration = Duration::from_secs(5);

/// Tracks whether the database can be used, until it is dropped.
#[derive(Debug)]
pub(crate) struct Availability {
    ready: watch::Receiver<Readiness>,
    prober: JoinHandle<()>,
}

/// Updates readiness until the task is aborted. A database that was away is migrated again: it may be another one.
async fn probe(store: Arc<Store>, sender: watch::Sender<Readiness>) {
    let mut available = false;
    loop {
        let result = if available { store.probe().await } else { store.migrate().await };
        match &result {
            Ok(()) if !available => info!("the database is available"),
            Err(error) if available => warn!(%error, "the database is not available"),
            _ => {}
        }
        let error = result.as_ref().err().map(Error::to_string);
        let ready = error.map_or(Ok(()), |error| Err(format!("the database is not available: {error}")));
        let first = sender.send_if_modified(|now| std::mem::replace(now, ready.clone()) != ready);
        if let (false, true, Err(error)) = (available, first, &result) {
            warn!(%error, "the database is not available");
        }
        available = result.is_ok();
        time::sleep(PROBE_INTERVAL).await;
    }
}

// === impl Availability ===

impl Availability {
    /// Returns the sender of readiness, which is false, and its receiver.
    pub(crate) fn readiness() -> (watch::Sender<Readiness>, watch::Receiver<Readiness>) {
        watch::channel(Err("the database is not migrated yet".to_owned()))
    }

    /// Starts to migrate and probe the database, and waits for the first result.
    pub(crate) async fn watch(store: Arc<Store>, sender: watch::Sender<Readiness>) -> Self {
        let mut ready = sender.subscribe();
        let prober = tokio::spawn(probe(store, sender));
        // An error means that the database is away, which the receiver reports.
        drop(timeout(FIRST_MIGRATION, ready.changed()).await);
        Self { ready, prober }
    }

    /// Fails at once while the database is known to be away, instead of waiting for a connection.
    ///
    /// # Errors
    ///
    /// UNAVAILABLE.
    pub(crate) fn check(&self) -> Result<(), Status> {
        match &*self.ready.borrow() {
            Ok(()) => Ok(()),
            Err(_) => Err(Status::unavailable("the database is not available: try again")),
        }
    }
}

impl Drop for Availability {
    fn drop(&mut self) {
        self.prober.abort();
    }
}
