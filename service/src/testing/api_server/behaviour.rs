//! The behaviour of the server, as a test sets it.

use std::time::Duration;

/// The response to requests, those in flight included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// As they should be.
    #[default]
    Well,
    /// Not at all: connections are taken, and nothing is said, to watches that are open neither.
    Silent,
    /// In pieces, with this long before each.
    Slow(Duration),
    /// With 403, as RBAC does for an account without a role.
    Forbidden,
    /// With 403, but only to watches: a Role with `list` and no `watch`.
    WatchForbidden,
    /// With 403, but only to this verb on this resource, such as `patch` on `deployments/scale`.
    Denied(&'static str, &'static str),
    /// Watches with the HTTP status 410.
    Gone,
    /// With another status, and a `retry-after` if there is one, in seconds.
    Refused(u16, Option<u32>),
    /// With a web page, as a proxy does that is in the way.
    WebPage,
}
