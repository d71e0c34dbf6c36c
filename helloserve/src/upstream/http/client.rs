//! The `reqwest::Client` of the HTTP backend, and the connection that it uses for each request.

use std::{cell::Cell, net::IpAddr, time::Duration};

use reqwest::{Client, redirect};
use tokio::task_local;
use tower::util::MapRequestLayer;

use crate::upstream::resolver::RotatingResolver;

/// The time that an idle connection is kept. A person who repeats a request by hand gets a new connection, and so perhaps
/// another pod, each time; a load reuses its connections.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_millis(500);

task_local! {
    /// The connection that the current request opened, if it opened one.
    pub(super) static OPENED: Opened;
}

/// The connection of a request.
#[derive(Debug, Default)]
pub(super) struct Opened {
    /// True if the request opened it.
    pub(super) connection: Cell<bool>,
    /// The peer. Of a kept connection, it is known once the response begins.
    pub(super) address: Cell<Option<IpAddr>>,
}

/// Remembers for the current request that it opens a connection.
fn connecting<R>(request: R) -> R {
    // A connection that the client opens in the background belongs to no request.
    let _ = OPENED.try_with(|opened| opened.connection.set(true));
    request
}

/// Remembers for the current request which address its new connection goes to.
pub(in crate::upstream) fn connecting_to(address: IpAddr) {
    let _ = OPENED.try_with(|opened| opened.address.set(Some(address)));
}

/// Creates a client without connections.
pub(super) fn client(resolver: &RotatingResolver, connect_timeout: Duration) -> reqwest::Result<Client> {
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .connect_timeout(connect_timeout)
        .connector_layer(MapRequestLayer::new(connecting))
        .dns_resolver(resolver.clone())
        .build()
}
