//! Lists and watches the EndpointSlices of a Service, through failures of the API server.

use std::{mem, pin::pin, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};

use super::{
    OpenSession,
    api::{Api, WATCH_TIMEOUT, WatchEvents},
    error::ApiError,
    model::WatchEvent,
    service::Service,
    slices::{NoSuchPort, Slices},
};
use crate::{
    backoff::{Backoff, BackoffPolicy},
    resolver::{Endpoint, ResolveError, Updates, outcome_log::OutcomeLog},
};

/// The pauses after failed requests. They are short at first, because an API server that restarts is back soon.
const RETRY_BACKOFF: BackoffPolicy = BackoffPolicy {
    initial: Duration::from_millis(200),
    max: Duration::from_secs(5),
    multiplier: 1.6,
    jitter: 0.2,
};
/// The minimum time between two attempts when the channel requests a refresh.
const MIN_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// The time before which a watch that ends without an event counts as failed.
const MIN_WATCH_DURATION: Duration = Duration::from_secs(1);
/// The time after [`WATCH_TIMEOUT`] at which a watch that the server has not ended counts as dead.
const WATCH_GRACE: Duration = Duration::from_secs(20);
/// The time without an event after which a watch is checked when the channel loses connections. Doubles after each
/// check that finds no change.
const STALE_CHECK_BACKOFF: BackoffPolicy = BackoffPolicy {
    initial: Duration::from_secs(10),
    max: Duration::from_secs(160),
    multiplier: 2.0,
    jitter: 0.2,
};

/// The maximum number of different errors that are logged until the server responds again.
const MAX_LOGGED_ERRORS: usize = 5;

/// Lists and watches the slices, and publishes their endpoints.
pub(super) struct Watcher {
    service: Service,
    updates: Updates,
    slices: Slices,
    /// The resource version from which to watch; `None` if the slices must be listed.
    version: Option<String>,
    /// The endpoints that were published last; `None` after a failure.
    published: Option<Vec<Endpoint>>,
    /// The errors that were logged since the last response.
    logged_errors: Vec<String>,
    outcomes: OutcomeLog,
    /// The error that no pod has the port, if it was logged and still applies.
    mismatch: Option<String>,
    /// The number of consecutive watches that failed; see [`MIN_WATCH_DURATION`].
    short_watches: u32,
    retry_backoff: Backoff,
    stale_check: Backoff,
}

// === impl Watcher ===

impl Watcher {
    pub(super) fn new(service: Service, updates: Updates) -> Self {
        Self {
            service,
            updates,
            slices: Slices::default(),
            version: None,
            published: None,
            logged_errors: Vec::new(),
            outcomes: OutcomeLog::default(),
            mismatch: None,
            short_watches: 0,
            retry_backoff: Backoff::new(RETRY_BACKOFF),
            stale_check: Backoff::new(STALE_CHECK_BACKOFF),
        }
    }

    pub(super) async fn run(mut self, open: OpenSession) {
        loop {
            let soonest = Instant::now() + MIN_RETRY_INTERVAL;
            let error = match open().await {
                Ok(session) => self.follow(&Api::new(session, &self.service)).await,
                Err(error) => error,
            };
            if error.relist {
                self.version = None;
            }
            let pause = Instant::now() + self.retry_backoff.wait().max(error.wait.unwrap_or_default());
            let patient = error.wait.is_some();
            self.fail(error.message);
            let refresh = async {
                self.updates.refresh_requested().await;
                sleep_until(soonest).await;
            };
            tokio::select! {
                () = sleep_until(pause) => {}
                () = refresh, if !patient => {}
            }
        }
    }

    /// Lists and watches until a request fails.
    async fn follow(&mut self, api: &Api) -> ApiError {
        loop {
            let listed = self.version.is_none();
            if listed {
                match api.list().await {
                    Ok(list) => {
                        self.slices.replace(list.items);
                        self.version = Some(list.metadata.resource_version);
                        self.publish();
                    }
                    Err(error) => return error,
                }
            }
            let version = self.version.clone().unwrap_or_default();
            let began = Instant::now();
            let mut events = match api.watch(&version).await {
                Ok(events) => events,
                // Normal operation, for example 410 Gone: the server keeps old versions only for a limited time.
                Err(error) if error.relist && !listed => {
                    self.version = None;
                    continue;
                }
                Err(error) => return error,
            };
            // The known endpoints are valid: the watch sends all changes since their version.
            self.confirm();
            let ended = self.watch(api, &mut events).await;
            if self.version.as_ref() != Some(&version) || began.elapsed() >= MIN_WATCH_DURATION {
                self.retry_backoff.reset();
                self.short_watches = 0;
            } else {
                self.short_watches += 1;
            }
            if ended.as_ref().is_err_and(|error| error.relist) {
                self.version = None;
            }
            // Starts another watch at once, unless two in a row failed.
            if self.short_watches > 1 {
                return ended.err().unwrap_or_else(|| api.watches_end_at_once());
            }
        }
    }

    /// Reads one watch to its end.
    async fn watch(&mut self, api: &Api, events: &mut WatchEvents) -> Result<(), ApiError> {
        let mut over = pin!(sleep(WATCH_TIMEOUT + WATCH_GRACE));
        let mut stale_check_at = Instant::now() + self.stale_check.wait();
        loop {
            let refresh = async {
                sleep_until(stale_check_at).await;
                self.updates.refresh_requested().await;
            };
            tokio::select! {
                biased;
                batch = events.next() => match batch? {
                    Some(batch) => {
                        self.apply(api, batch)?;
                        self.stale_check.reset();
                        stale_check_at = Instant::now() + self.stale_check.wait();
                    }
                    None => return Ok(()),
                },
                // The channel loses connections and the watch has sent no event that explains this, so its connection
                // may be dead. Replaces it by a second watch from the same version.
                () = refresh => {
                    let version = self.version.clone().unwrap_or_default();
                    let another = tokio::select! {
                        biased;
                        () = events.wait_for_data() => continue,
                        another = api.watch(&version) => another?,
                    };
                    *events = another;
                    self.confirm();
                    over.set(sleep(WATCH_TIMEOUT + WATCH_GRACE));
                    stale_check_at = Instant::now() + self.stale_check.wait();
                }
                () = &mut over => return Ok(()),
            }
        }
    }

    /// Applies events to the slices, and publishes the resulting endpoints.
    fn apply(&mut self, api: &Api, batch: Vec<WatchEvent>) -> Result<(), ApiError> {
        let mut confirmed = false;
        let mut error = None;
        for event in batch {
            match event {
                WatchEvent::Added(slice) | WatchEvent::Modified(slice) => {
                    self.version = Some(slice.metadata.resource_version.clone());
                    self.slices.apply(slice);
                }
                WatchEvent::Deleted(slice) => {
                    self.slices.delete(&slice);
                    self.version = Some(slice.metadata.resource_version);
                }
                WatchEvent::Bookmark(bookmark) => {
                    self.version = Some(bookmark.metadata.resource_version);
                    confirmed = true;
                }
                WatchEvent::Error(status) => {
                    error = Some(api.rejected(&status));
                    break;
                }
            }
        }
        if confirmed {
            self.published = None;
        }
        self.publish();
        error.map_or(Ok(()), Err)
    }

    /// Publishes the endpoints of the slices, unless they are published already.
    fn publish(&mut self) {
        match self.slices.endpoints(&self.service) {
            Ok(endpoints) => {
                self.mismatch = None;
                if self.published.as_ref() != Some(&endpoints) {
                    self.outcomes.answered(endpoints.len());
                    self.updates.publish(endpoints.iter().cloned());
                    self.published = Some(endpoints);
                }
            }
            Err(NoSuchPort { ports }) => {
                let Service { name, port, .. } = &self.service;
                let message = format!("the pods of service {name} have no port {port}: they have {ports}");
                if self.mismatch.as_ref() != Some(&message) {
                    tracing::warn!(service = name, %port, ports, "no pod of the service has the port of the target");
                    self.mismatch = Some(message.clone());
                }
                self.published = None;
                self.updates.publish_none(ResolveError::new(message));
            }
        }
    }

    /// Publishes the known endpoints as valid, because the server responds.
    fn confirm(&mut self) {
        if !mem::take(&mut self.logged_errors).is_empty() {
            tracing::info!(service = self.service.name, "Kubernetes API responds again");
        }
        self.published = None;
        self.publish();
    }

    /// Publishes a failure. Logs each different error once until the server responds again.
    fn fail(&mut self, message: String) {
        if self.logged_errors.len() < MAX_LOGGED_ERRORS && !self.logged_errors.contains(&message) {
            let (service, error) = (&self.service.name, &message);
            tracing::warn!(service, error, "Kubernetes API request failed; the last endpoints stay in use");
            self.logged_errors.push(message.clone());
        }
        self.published = None;
        self.updates.fail(ResolveError::new(message));
    }
}
