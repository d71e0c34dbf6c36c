//! Records which requests to the HTTP backend open a connection, and to which address.

use std::{cell::Cell, net::IpAddr};

use tokio::task_local;

task_local! {
    /// The connection of the current request.
    pub(super) static OPENED: Opened;
}

/// The connection of a request.
#[derive(Debug, Default)]
pub(super) struct Opened {
    /// True if the request opened a new connection.
    pub(super) connection: Cell<bool>,
    /// The peer. With a reused connection, it is known only once the response starts.
    pub(super) address: Cell<Option<IpAddr>>,
}

/// Records that the current request opens a connection.
pub(super) fn connecting<R>(request: R) -> R {
    // Fails for a connection that the client opens in the background, which belongs to no request.
    let _ = OPENED.try_with(|opened| opened.connection.set(true));
    request
}

/// Records the address to which the current request opens a connection.
pub(super) fn connecting_to(address: IpAddr) {
    let _ = OPENED.try_with(|opened| opened.address.set(Some(address)));
}
