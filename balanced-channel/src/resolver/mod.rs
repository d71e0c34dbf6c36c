//! Resolvers: what turns a target into whole sets of endpoints, again and again.
//!
//! A resolver never says what changed. It publishes every answer whole, and the balancer compares.

mod dns;
#[cfg(feature = "kubernetes")]
pub(crate) mod kubernetes;
mod poll;

use std::{net::SocketAddr, panic::AssertUnwindSafe, sync::Arc};

pub use dns::DnsLookup;
use futures_util::{FutureExt as _, future::BoxFuture};
pub use poll::{Lookup, LookupAnswer, PollingResolver, Refresh};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

/// One place where the service answers: usually one pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Endpoint {
    /// Where to connect. Two endpoints of one set never share it.
    pub address: SocketAddr,
    /// The name that people use for it, such as the name of its pod, if the resolver knows it.
    pub name: Option<Arc<str>>,
    /// The failure zone it is in, if the resolver knows. See [`Builder::zone`](crate::Builder::zone).
    pub zone: Option<Arc<str>>,
    /// The zones whose clients should call it, if somebody has planned that; a Kubernetes
    /// EndpointSlice has them as `hints.forZones`.
    pub for_zones: Vec<Arc<str>>,
    /// True if calls go there only while no other endpoint takes calls: the second address family of a name.
    pub(crate) fallback: bool,
}

/// A lookup that failed; what it means is in the sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ResolveError(String);

/// Finds the endpoints of one target for as long as the channel lives.
///
/// Give your own to [`Builder::resolver`](crate::Builder::resolver) to feed a channel from
/// anything: a registry, a file, a test.
pub trait Resolver: Send + 'static {
    /// Publishes every whole set of endpoints to `updates`, until it is dropped.
    ///
    /// Returning means that the last set stands for good. A resolver that can be asked again waits
    /// for [`Updates::refresh_requested`].
    fn run(self: Box<Self>, updates: Updates) -> BoxFuture<'static, ()>;
}

/// Where a resolver publishes, and where it hears that an answer is wanted at once.
#[derive(Clone, Debug)]
pub struct Updates {
    resolution: Arc<watch::Sender<Resolution>>,
    request_refresh: Arc<Notify>,
}

/// The latest that a resolver said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resolution {
    /// The last whole set, and when it was published.
    pub(crate) endpoints: Option<(Arc<[Endpoint]>, Instant)>,
    /// Why the latest lookup failed; a failure does not take the last set away.
    pub(crate) error: Option<ResolveError>,
}

/// The balancer's end of [`Updates`].
#[derive(Debug)]
pub(crate) struct Resolutions {
    pub(crate) latest: watch::Receiver<Resolution>,
    pub(crate) request_refresh: Arc<Notify>,
}

/// Addresses that never change.
#[derive(Debug)]
pub(crate) struct StaticResolver(pub(crate) Vec<SocketAddr>);

/// Runs a resolver. One that panics has failed for good, which calls without endpoints report.
pub(crate) async fn run(resolver: Box<dyn Resolver>, updates: Updates) {
    let running = AssertUnwindSafe(async { resolver.run(updates.clone()).await });
    if running.catch_unwind().await.is_err() {
        tracing::error!("resolver panicked; the last endpoints stay in use");
        updates.fail(ResolveError::new("the resolver panicked"));
        // The balancer takes the end of all senders for the end of the channel.
        updates.closed().await;
    }
}

// === impl Endpoint ===

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { address, name: None, zone: None, for_zones: Vec::new(), fallback: false }
    }
}

impl Endpoint {
    /// The same, with a name.
    #[must_use]
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// The same, in a zone.
    #[must_use]
    pub fn in_zone(self, zone: impl Into<Arc<str>>) -> Self {
        Self { zone: Some(zone.into()), ..self }
    }

    /// The same, for the time when no other endpoint takes calls.
    #[must_use]
    pub(crate) fn into_fallback(self) -> Self {
        Self { fallback: true, ..self }
    }

    /// The same, for the clients of some zones.
    #[must_use]
    pub fn for_zones(self, zones: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        Self { for_zones: zones.into_iter().map(Into::into).collect(), ..self }
    }
}

// === impl ResolveError ===

impl ResolveError {
    /// An error that says `sentence`.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

// === impl Updates ===

/// A pair of ends between a resolver and a balancer.
pub(crate) fn updates() -> (Updates, Resolutions) {
    let (resolution, latest) = watch::channel(Resolution::default());
    let request_refresh = Arc::new(Notify::new());
    (
        Updates { resolution: Arc::new(resolution), request_refresh: request_refresh.clone() },
        Resolutions { latest, request_refresh },
    )
}

impl Updates {
    /// Publishes a whole set. An empty one says that the service has no endpoint now.
    pub fn publish(&self, endpoints: impl IntoIterator<Item = Endpoint>) {
        let endpoints = endpoints.into_iter().collect();
        self.resolution.send_modify(|latest| {
            latest.endpoints = Some((endpoints, Instant::now()));
            latest.error = None;
        });
    }

    /// Publishes that the service has no endpoint now, and why.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn publish_none(&self, error: ResolveError) {
        self.resolution.send_modify(|latest| {
            latest.endpoints = Some((Arc::default(), Instant::now()));
            latest.error = Some(error);
        });
    }

    /// Says that a lookup failed. The last set stands.
    pub fn fail(&self, error: ResolveError) {
        self.resolution.send_modify(|latest| latest.error = Some(error));
    }

    /// Waits until the balancer wants an answer soon: a connection was lost or could not be made.
    /// The resolver limits the rate.
    pub async fn refresh_requested(&self) {
        self.request_refresh.notified().await;
    }

    /// Waits until nobody listens any more.
    pub async fn closed(&self) {
        self.resolution.closed().await;
    }
}

// === impl StaticResolver ===

impl Resolver for StaticResolver {
    fn run(self: Box<Self>, updates: Updates) -> BoxFuture<'static, ()> {
        updates.publish(self.0.into_iter().map(Endpoint::from));
        Box::pin(std::future::ready(()))
    }
}
