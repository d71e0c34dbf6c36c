//! Kubernetes: the endpoints of a service, from its EndpointSlices, as soon as the API server knows them.
//!
//! The slices are listed once and then watched. A watch that ends begins again where it ended; only when
//! the server has forgotten that point (410 Gone) are they listed again. Whatever fails on the way, the
//! last set stands.

mod access;
mod api;
mod error;
mod kubeconfig;
mod model;
mod proxy;
mod service;
mod slices;

use std::{mem, pin::pin, time::Duration};

pub(crate) use access::Access;
use access::Session;
use api::{Api, WATCH_TIMEOUT, WatchEvents};
use error::ApiError;
use futures_util::future::BoxFuture;
pub use kubeconfig::{describe_plugin_error, kubeconfig};
use model::WatchEvent;
pub use proxy::without_proxy;
pub(crate) use service::Service;
use slices::{NoSuchPort, Slices};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Endpoint, ResolveError, Resolver, Updates};
use crate::backoff::{Backoff, BackoffPolicy};

/// The pauses between attempts that fail: short at first, as an API server that restarts is soon back.
const RETRY_BACKOFF: BackoffPolicy = BackoffPolicy {
    initial: Duration::from_millis(200),
    max: Duration::from_secs(5),
    multiplier: 1.6,
    jitter: 0.2,
};
/// The least time between two attempts when the channel asks for one.
const MIN_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// A watch that lasts for less, and brings nothing, did not work.
const MIN_WATCH_DURATION: Duration = Duration::from_secs(1);
/// The time that over its time a watch may go on before it counts as dead.
const WATCH_GRACE: Duration = Duration::from_secs(20);
/// After how much silence a watch is doubted when the channel loses connections; twice as long after each
/// doubt that proved nothing.
const STALE_CHECK_BACKOFF: BackoffPolicy = BackoffPolicy {
    initial: Duration::from_secs(10),
    max: Duration::from_secs(160),
    multiplier: 2.0,
    jitter: 0.2,
};

/// The number of reasons that are logged while the server does not answer.
const MAX_LOGGED_ERRORS: usize = 5;

/// Follows the EndpointSlices of one service.
pub(crate) struct KubernetesResolver {
    service: Service,
    open: OpenSession,
}

/// Opens a way to the API server, with the credentials of this moment.
type OpenSession = Box<dyn Fn() -> BoxFuture<'static, Result<Session, ApiError>> + Send>;

/// The state of a watch, and where its results go.
struct Watcher {
    service: Service,
    updates: Updates,
    slices: Slices,
    /// The position in the history of the slices; none: nothing is known, or it is forgotten.
    version: Option<String>,
    /// The endpoints that were published last; `None` after a failure.
    published: Option<Vec<Endpoint>>,
    /// The failures that were logged and have not been mended.
    logged_errors: Vec<String>,
    /// The port that no pod has, if that was logged and still holds.
    mismatch: Option<String>,
    /// The number of watches that in a row did not work.
    short_watches: u32,
    retry_backoff: Backoff,
    stale_check: Backoff,
}

// === impl KubernetesResolver ===

impl KubernetesResolver {
    pub(crate) fn new(service: Service, access: Access) -> Self {
        let open = move || -> BoxFuture<'static, _> {
            let access = access.clone();
            Box::pin(async move { access.open().await })
        };
        Self { service, open: Box::new(open) }
    }
}

impl Resolver for KubernetesResolver {
    fn run(self: Box<Self>, updates: Updates) -> BoxFuture<'static, ()> {
        let watcher = Watcher {
            service: self.service,
            updates,
            slices: Slices::default(),
            version: None,
            published: None,
            logged_errors: Vec::new(),
            mismatch: None,
            short_watches: 0,
            retry_backoff: Backoff::new(RETRY_BACKOFF),
            stale_check: Backoff::new(STALE_CHECK_BACKOFF),
        };
        Box::pin(watcher.run(self.open))
    }
}

// === impl Watcher ===

impl Watcher {
    async fn run(mut self, open: OpenSession) {
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
            let asked = async {
                self.updates.refresh_requested().await;
                sleep_until(soonest).await;
            };
            tokio::select! {
                () = sleep_until(pause) => {}
                () = asked, if !patient => {}
            }
        }
    }

    /// Follows until something fails.
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
                // Such as 410 Gone, which is nothing unusual: the server forgets what is old.
                Err(error) if error.relist && !listed => {
                    self.version = None;
                    continue;
                }
                Err(error) => return error,
            };
            // What is known holds: all that happened since is about to come.
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
            // However it ended, it is begun again at once, unless that did not help the last time.
            if self.short_watches > 1 {
                return ended.err().unwrap_or_else(|| api.watches_end_at_once());
            }
        }
    }

    /// Follows one watch to its end.
    async fn watch(&mut self, api: &Api, events: &mut WatchEvents) -> Result<(), ApiError> {
        let mut over = pin!(sleep(WATCH_TIMEOUT + WATCH_GRACE));
        let mut stale_check_at = Instant::now() + self.stale_check.wait();
        loop {
            let asked = async {
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
                // The channel loses connections, and the watch has no event about it: it may be dead. A second watch,
                // from the same version, finds out.
                () = asked => {
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

    /// Takes in what has happened, and publishes what it comes to.
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

    /// Publishes what the slices mean, unless it is known already.
    fn publish(&mut self) {
        match self.slices.endpoints(&self.service) {
            Ok(endpoints) => {
                self.mismatch = None;
                if self.published.as_ref() != Some(&endpoints) {
                    self.updates.publish(endpoints.iter().cloned());
                    self.published = Some(endpoints);
                }
            }
            Err(NoSuchPort { ports }) => {
                let Service { name, port, .. } = &self.service;
                let message = format!("the pods of service {name} have no port {port}: they have {ports}");
                if self.mismatch.as_ref() != Some(&message) {
                    tracing::warn!("{message}");
                    self.mismatch = Some(message.clone());
                }
                self.published = None;
                self.updates.publish_none(ResolveError::new(message));
            }
        }
    }

    /// The server answers, so what is known is true now.
    fn confirm(&mut self) {
        if !mem::take(&mut self.logged_errors).is_empty() {
            tracing::info!(service = self.service.name, "the Kubernetes API answers again");
        }
        self.published = None;
        self.publish();
    }

    /// Publishes a failure. Each reason is logged once until the server answers again.
    fn fail(&mut self, message: String) {
        if self.logged_errors.len() < MAX_LOGGED_ERRORS && !self.logged_errors.contains(&message) {
            tracing::warn!(service = self.service.name, "{message}; the endpoints known so far stand");
            self.logged_errors.push(message.clone());
        }
        self.published = None;
        self.updates.fail(ResolveError::new(message));
    }
}

#[cfg(test)]
mod tests;
