//! The behaviour of the server, which tests set.

use std::time::Duration;

/// The response to all requests, including those in flight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// Correct responses.
    #[default]
    Normal,
    /// No responses, and no events on open watches. Connections are accepted.
    Silent,
    /// Correct responses in pieces, with a pause before each.
    Slow(Duration),
    /// 403 to every request, as for an account without a role (RBAC).
    Forbidden,
    /// 403 to watches only, as for a Role with `list` and without `watch`.
    WatchForbidden,
    /// 403 to one verb on one resource, such as `patch` on `deployments/scale`.
    Denied(&'static str, &'static str),
    /// 410 to watches, as for a resource version that is too old.
    Gone,
    /// Another error status, with an optional `retry-after` in seconds.
    ErrorStatus(u16, Option<u32>),
    /// A web page, as from a proxy between client and server.
    WebPage,
}
