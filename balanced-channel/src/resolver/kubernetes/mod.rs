//! Kubernetes: the endpoints of a service, from its EndpointSlices, as soon as the API server knows them.
//!
//! The slices are listed once and then watched. A watch that ends begins again where it ended; only when
//! the server has forgotten that point (410 Gone) are they listed again. Whatever fails on the way, the
//! last set stands.

mod access;
mod api;
mod error;
mod model;
mod service;
mod slices;

use std::{mem, pin::pin, time::Duration};

pub(crate) use access::Access;
use access::Session;
use api::{Api, Events, WATCHING};
use error::Fault;
use futures_util::future::BoxFuture;
use model::Event;
pub(crate) use service::Service;
use slices::{NoSuchPort, Slices};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Endpoint, ResolveError, Resolver, Updates};
use crate::backoff::{Backoff, BackoffPolicy};

/// The pauses between attempts that fail: short at first, as an API server that restarts is soon back.
const PAUSES: BackoffPolicy = BackoffPolicy {
    initial: Duration::from_millis(200),
    max: Duration::from_secs(5),
    multiplier: 1.6,
    jitter: 0.2,
};
/// The least time between two attempts when the channel asks for one.
const SOONEST: Duration = Duration::from_secs(1);
/// A watch that lasts for less, and brings nothing, did not work.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// How long over its time a watch may go on before it counts as dead.
const OVERTIME: Duration = Duration::from_secs(20);
/// After how much silence a watch is doubted when the channel loses connections; twice as long after each
/// doubt that proved nothing.
const DOUBT: BackoffPolicy = BackoffPolicy {
    initial: Duration::from_secs(10),
    max: Duration::from_secs(160),
    multiplier: 2.0,
    jitter: 0.2,
};

/// So many reasons are logged while the server does not answer.
const MAX_COMPLAINTS: usize = 5;

/// Follows the EndpointSlices of one service.
pub(crate) struct Kubernetes {
    service: Service,
    open: Open,
}

/// Opens a way to the API server, with the credentials of this moment.
type Open = Box<dyn Fn() -> BoxFuture<'static, Result<Session, Fault>> + Send>;

/// What is known so far, and where it is told.
struct Follower {
    service: Service,
    updates: Updates,
    slices: Slices,
    /// How far the history of the slices has been read; none: nothing is known, or it is forgotten.
    version: Option<String>,
    /// What was published last; none when something failed since.
    published: Option<Vec<Endpoint>>,
    /// The failures that were logged and have not been mended.
    complaints: Vec<String>,
    /// That no pod has the port, if that was logged and is so.
    mismatch: Option<String>,
    /// How many watches in a row did not work.
    short_lives: u32,
    pauses: Backoff,
    doubt: Backoff,
}

// === impl Kubernetes ===

impl Kubernetes {
    pub(crate) fn new(service: Service, access: Access) -> Self {
        let open = move || -> BoxFuture<'static, _> {
            let access = access.clone();
            Box::pin(async move { access.open().await })
        };
        Self { service, open: Box::new(open) }
    }
}

impl Resolver for Kubernetes {
    fn run(self: Box<Self>, updates: Updates) -> BoxFuture<'static, ()> {
        let follower = Follower {
            service: self.service,
            updates,
            slices: Slices::default(),
            version: None,
            published: None,
            complaints: Vec::new(),
            mismatch: None,
            short_lives: 0,
            pauses: Backoff::new(PAUSES),
            doubt: Backoff::new(DOUBT),
        };
        Box::pin(follower.run(self.open))
    }
}

// === impl Follower ===

impl Follower {
    async fn run(mut self, open: Open) {
        loop {
            let soonest = Instant::now() + SOONEST;
            let fault = match open().await {
                Ok(session) => self.follow(&Api::new(session, &self.service)).await,
                Err(fault) => fault,
            };
            if fault.relist {
                self.version = None;
            }
            let pause = Instant::now() + self.pauses.wait().max(fault.wait.unwrap_or_default());
            let patient = fault.wait.is_some();
            self.fail(fault.sentence);
            let asked = async {
                self.updates.asked().await;
                sleep_until(soonest).await;
            };
            tokio::select! {
                () = sleep_until(pause) => {}
                () = asked, if !patient => {}
            }
        }
    }

    /// Follows until something fails.
    async fn follow(&mut self, api: &Api) -> Fault {
        loop {
            let listed = self.version.is_none();
            if listed {
                match api.list().await {
                    Ok(list) => {
                        self.slices.replace(list.items);
                        self.version = Some(list.metadata.resource_version);
                        self.publish();
                    }
                    Err(fault) => return fault,
                }
            }
            let version = self.version.clone().unwrap_or_default();
            let began = Instant::now();
            let mut events = match api.watch(&version).await {
                Ok(events) => events,
                // Such as 410 Gone, which is nothing unusual: the server forgets what is old.
                Err(fault) if fault.relist && !listed => {
                    self.version = None;
                    continue;
                }
                Err(fault) => return fault,
            };
            // What is known holds: all that happened since is about to come.
            self.confirm();
            let ended = self.watch(api, &mut events).await;
            if self.version.as_ref() != Some(&version) || began.elapsed() >= SHORT_LIFE {
                self.pauses.reset();
                self.short_lives = 0;
            } else {
                self.short_lives += 1;
            }
            if ended.as_ref().is_err_and(|fault| fault.relist) {
                self.version = None;
            }
            // However it ended, it is begun again at once, unless that did not help the last time.
            if self.short_lives > 1 {
                return ended.err().unwrap_or_else(|| api.restless());
            }
        }
    }

    /// Follows one watch to its end.
    async fn watch(&mut self, api: &Api, events: &mut Events) -> Result<(), Fault> {
        let mut over = pin!(sleep(WATCHING + OVERTIME));
        let mut doubted = Instant::now() + self.doubt.wait();
        loop {
            let asked = async {
                sleep_until(doubted).await;
                self.updates.asked().await;
            };
            tokio::select! {
                biased;
                batch = events.next() => match batch? {
                    Some(batch) => {
                        self.apply(api, batch)?;
                        self.doubt.reset();
                        doubted = Instant::now() + self.doubt.wait();
                    }
                    None => return Ok(()),
                },
                // The channel loses connections, and this watch says nothing of it. It may be dead; only
                // another one, that begins where it stands, can tell.
                () = asked => {
                    let version = self.version.clone().unwrap_or_default();
                    let another = tokio::select! {
                        biased;
                        () = events.heard() => continue,
                        another = api.watch(&version) => another?,
                    };
                    *events = another;
                    self.confirm();
                    over.set(sleep(WATCHING + OVERTIME));
                    doubted = Instant::now() + self.doubt.wait();
                }
                () = &mut over => return Ok(()),
            }
        }
    }

    /// Takes in what has happened, and publishes what it comes to.
    fn apply(&mut self, api: &Api, batch: Vec<Event>) -> Result<(), Fault> {
        let mut confirmed = false;
        let mut fault = None;
        for event in batch {
            match event {
                Event::Added(slice) | Event::Modified(slice) => {
                    self.version = Some(slice.metadata.resource_version.clone());
                    self.slices.apply(slice);
                }
                Event::Deleted(slice) => {
                    self.slices.delete(&slice);
                    self.version = Some(slice.metadata.resource_version);
                }
                Event::Bookmark(bookmark) => {
                    self.version = Some(bookmark.metadata.resource_version);
                    confirmed = true;
                }
                Event::Error(status) => {
                    fault = Some(api.refused(&status));
                    break;
                }
            }
        }
        if confirmed {
            self.published = None;
        }
        self.publish();
        fault.map_or(Ok(()), Err)
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
                let sentence = format!("the pods of service {name} have no port {port}: they have {ports}");
                if self.mismatch.as_ref() != Some(&sentence) {
                    tracing::warn!("{sentence}");
                    self.mismatch = Some(sentence.clone());
                }
                self.published = None;
                self.updates.publish([]);
                self.updates.fail(ResolveError::new(sentence));
            }
        }
    }

    /// The server answers, so what is known is true now.
    fn confirm(&mut self) {
        if !mem::take(&mut self.complaints).is_empty() {
            tracing::info!(service = self.service.name, "the Kubernetes API answers again");
        }
        self.published = None;
        self.publish();
    }

    /// Says why nothing is known better. The log hears each reason once, until the server answers again.
    fn fail(&mut self, sentence: String) {
        if self.complaints.len() < MAX_COMPLAINTS && !self.complaints.contains(&sentence) {
            tracing::warn!(service = self.service.name, "{sentence}; the endpoints known so far stand");
            self.complaints.push(sentence.clone());
        }
        self.published = None;
        self.updates.fail(ResolveError::new(sentence));
    }
}

#[cfg(test)]
mod tests;
