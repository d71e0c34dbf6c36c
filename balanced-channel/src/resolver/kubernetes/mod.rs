//! The resolver of `kubernetes:///` targets: the endpoints of a Service, from its EndpointSlices.
//!
//! The slices are listed once and then watched. A watch that ends is started again from its last resource version. The
//! slices are listed again only if the server has forgotten that version (410 Gone). While requests fail, the last
//! endpoints stay in use.

mod access;
mod api;
mod error;
mod kubeconfig;
mod model;
mod proxy;
mod service;
mod slices;
mod watcher;

pub(crate) use access::Access;
use access::Session;
use error::ApiError;
use futures_util::future::BoxFuture;
pub use kubeconfig::{describe_plugin_error, kubeconfig};
pub use proxy::without_proxy;
pub(crate) use service::Service;
use watcher::Watcher;

use super::{Resolver, Updates};

/// Watches the EndpointSlices of one Service.
pub(crate) struct KubernetesResolver {
    service: Service,
    open: OpenSession,
}

/// Opens a session with the API server, with the current credentials.
type OpenSession = Box<dyn Fn() -> BoxFuture<'static, Result<Session, ApiError>> + Send>;

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
        Box::pin(Watcher::new(self.service, updates).run(self.open))
    }
}

#[cfg(test)]
mod tests;
