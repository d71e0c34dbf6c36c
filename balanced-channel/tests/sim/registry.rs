//! A simulated registry in place of DNS, and a channel that polls the registry.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use balanced_channel::{
    Builder, Channel, Connector, Endpoint, Lookup, LookupAnswer, PollingResolver, Refresh, ResolveError,
    Resolver, Updates,
};
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::{network::SimulatedTcp, node::Backend};

/// The registry's answer, which a test changes at any time.
#[derive(Clone)]
pub struct Registry {
    answer: Arc<Mutex<Result<Vec<Endpoint>, ResolveError>>>,
    pub lookups: Arc<AtomicU64>,
}

/// The `ttl` of every answer, above the maximum time between lookups.
const TTL: Duration = Duration::from_secs(30);

// === impl Registry ===

impl Registry {
    pub fn of<'a>(backends: impl IntoIterator<Item = &'a Backend>) -> Self {
        let registry = Self { answer: Arc::new(Mutex::new(Ok(Vec::new()))), lookups: Arc::default() };
        registry.list(backends);
        registry
    }

    pub fn list<'a>(&self, backends: impl IntoIterator<Item = &'a Backend>) {
        *self.answer.lock().unwrap() = Ok(endpoints(backends));
    }

    pub fn fail(&self) {
        *self.answer.lock().unwrap() = Err(ResolveError::new("the registry is down"));
    }

    /// Returns a channel over the simulated network that follows this registry.
    pub fn channel(&self) -> Channel {
        self.builder().build().unwrap()
    }

    pub fn builder(&self) -> Builder<impl Connector> {
        Channel::builder("dns:///simulated:1")
            .connector(SimulatedTcp)
            .resolver(PollingResolver::new(self.clone(), Refresh::default()))
    }
}

/// A resolver that passes its [`Updates`] to the test, which publishes the endpoints.
pub struct ManualResolver(oneshot::Sender<Updates>);

/// Returns a channel over the simulated network, and the [`Updates`] for its endpoints.
pub async fn manual_channel() -> (Channel, Updates) {
    let (sender, updates) = oneshot::channel();
    let builder =
        Channel::builder("dns:///static:1").connector(SimulatedTcp).resolver(ManualResolver(sender));
    (builder.build().unwrap(), updates.await.unwrap())
}

pub fn endpoints<'a>(backends: impl IntoIterator<Item = &'a Backend>) -> Vec<Endpoint> {
    backends.into_iter().map(|backend| backend.address.into()).collect()
}

impl Resolver for ManualResolver {
    fn run(self: Box<Self>, updates: Updates) -> BoxFuture<'static, ()> {
        drop(self.0.send(updates.clone()));
        Box::pin(async move { updates.closed().await })
    }
}

impl Lookup for Registry {
    async fn lookup(&mut self) -> Result<LookupAnswer, ResolveError> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        // A lookup takes some time.
        tokio::time::sleep(Duration::from_millis(3)).await;
        let endpoints = self.answer.lock().unwrap().clone()?;
        Ok(LookupAnswer { endpoints, ttl: TTL })
    }
}
