//! Resolvers turn a target into sets of endpoints.
//!
//! A resolver publishes the complete set each time; the balancer finds the differences.

mod dns;
#[cfg(feature = "kubernetes")]
pub(crate) mod kubernetes;
mod outcome_log;
mod poll;
#[cfg(test)]
mod testing;

use std::{net::SocketAddr, panic::AssertUnwindSafe, sync::Arc};

pub use dns::DnsLookup;
use futures_util::{FutureExt as _, future::BoxFuture};
pub use poll::{Lookup, LookupAnswer, PollingResolver, Refresh};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

/// One address of a service: usually one pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Endpoint {
    /// The address to connect to, unique in a set.
    pub address: SocketAddr,
    /// The name to display, such as that of the pod, if the resolver knows it.
    pub name: Option<Arc<str>>,
    /// The failure zone, if the resolver knows it. See [`Builder::zone`](crate::Builder::zone).
    pub zone: Option<Arc<str>>,
    /// The zones whose clients should call the endpoint, if assigned; in a Kubernetes EndpointSlice, `hints.forZones`.
    pub for_zones: Vec<Arc<str>>,
    /// True for the second address family of a name: such endpoints get calls only while no other takes calls.
    pub(crate) fallback: bool,
}

/// The failure of a lookup.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ResolveError(String);

/// Finds the endpoints of a target, for the lifetime of a channel.
///
/// Set your own with [`Builder::resolver`](crate::Builder::resolver) to get endpoints from another source, such as a
/// registry, a file or a test.
pub trait Resolver: Send + 'static {
    /// Publishes each complete set of endpoints to `updates`, until the future is dropped.
    ///
    /// If it returns, the last set is final. A resolver that can query its source again waits for
    /// [`Updates::refresh_requested`].
    fn run(self: Box<Self>, updates: Updates) -> BoxFuture<'static, ()>;
}

/// Publishes the endpoints of a resolver to its channel, and receives requests for a refresh.
#[derive(Clone, Debug)]
pub struct Updates {
    resolution: Arc<watch::Sender<Resolution>>,
    request_refresh: Arc<Notify>,
}

/// The state of name resolution.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resolution {
    /// The last set, and when it was published.
    pub(crate) endpoints: Option<(Arc<[Endpoint]>, Instant)>,
    /// The error of the latest lookup, if it failed. A failure leaves the last set in use.
    pub(crate) error: Option<ResolveError>,
}

/// The balancer's side of [`Updates`].
#[derive(Debug)]
pub(crate) struct Resolutions {
    pub(crate) latest: watch::Receiver<Resolution>,
    pub(crate) request_refresh: Arc<Notify>,
}

/// Addresses that never change.
#[derive(Debug)]
pub(crate) struct StaticResolver(pub(crate) Vec<SocketAddr>);

/// Runs a resolver. A panic becomes a resolver error, with which calls fail if there are no endpoints.
pub(crate) async fn run(resolver: Box<dyn Resolver>, updates: Updates) {
    let running = AssertUnwindSafe(async { resolver.run(updates.clone()).await });
    if running.catch_unwind().await.is_err() {
        tracing::error!("resolver panicked; the last endpoints stay in use");
        updates.fail(ResolveError::new("the resolver panicked"));
        // Keeps the sender until the channel is dropped: the balancer ends when all senders are dropped.
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
    /// Sets the name.
    #[must_use]
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Sets the zone.
    #[must_use]
    pub fn in_zone(self, zone: impl Into<Arc<str>>) -> Self {
        Self { zone: Some(zone.into()), ..self }
    }

    /// Marks the endpoint as one of the second address family.
    #[must_use]
    pub(crate) fn into_fallback(self) -> Self {
        Self { fallback: true, ..self }
    }

    /// Sets the zones whose clients should call the endpoint.
    #[must_use]
    pub fn for_zones(self, zones: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        Self { for_zones: zones.into_iter().map(Into::into).collect(), ..self }
    }
}

// === impl ResolveError ===

impl ResolveError {
    /// Creates an error that displays as `sentence`.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

// === impl Updates ===

/// Creates the connected pair of a resolver's and a balancer's side.
pub(crate) fn updates() -> (Updates, Resolutions) {
    let (resolution, latest) = watch::channel(Resolution::default());
    let request_refresh = Arc::new(Notify::new());
    (
        Updates { resolution: Arc::new(resolution), request_refresh: request_refresh.clone() },
        Resolutions { latest, request_refresh },
    )
}

impl Updates {
    /// Publishes the complete set of endpoints. An empty set means that the service has none now.
    pub fn publish(&self, endpoints: impl IntoIterator<Item = Endpoint>) {
        let endpoints = endpoints.into_iter().collect();
        self.resolution.send_modify(|latest| {
            latest.endpoints = Some((endpoints, Instant::now()));
            latest.error = None;
        });
    }

    /// Publishes that the service has no endpoint now, with the reason.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn publish_none(&self, error: ResolveError) {
        self.resolution.send_modify(|latest| {
            latest.endpoints = Some((Arc::default(), Instant::now()));
            latest.error = Some(error);
        });
    }

    /// Reports that a lookup failed. The last set stays in use.
    pub fn fail(&self, error: ResolveError) {
        self.resolution.send_modify(|latest| latest.error = Some(error));
    }

    /// Waits until the balancer requests a refresh, because a connection was lost or could not be established. The
    /// resolver limits the rate of its lookups.
    pub async fn refresh_requested(&self) {
        self.request_refresh.notified().await;
    }

    /// Waits until the channel is dropped.
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
