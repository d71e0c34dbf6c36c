//! The `reqwest::Client` for the HTTP backend.

use std::time::Duration;

use reqwest::{Client, redirect};
use tower::util::MapRequestLayer;

use crate::upstream::{opened::connecting, resolver::RotatingResolver};

/// The time after which an idle connection is closed. It is short so that a person who repeats a request by hand gets a new
/// connection each time, and so perhaps another pod. Under load, connections are reused.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_millis(500);

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
