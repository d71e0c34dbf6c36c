//! The HTTP server of every program: HTTP/1.1 and HTTP/2 with prior knowledge on one port.
//!
//! - [`finish`] wraps a router in the middleware that every program has.
//! - [`serve`] accepts connections within the limits of [`ConnectionConfig`], serves the router on them, and drains them at
//!   shutdown.
//! - [`InFlightLimit`] limits the requests in flight, and reserves a part for each connection.
//! - `timeouts` has the timeouts of connections that no flag changes.
//!
//! hyper itself rejects a request that it cannot parse (400), a head that is too large (431) and an incomplete head (408 or
//! a closed connection). These responses are problems without a request ID, counted in
//! `server_connections_closed_total`.
//!
//! If a client closes its side of the connection after a request, the request is cancelled: end of file is the only sign
//! by which hyper notices that a client has gone (RFC 9112, section 9.6 allows this).

mod config;
mod connection;
mod executor;
mod in_flight;
mod malformed;
mod middleware;
mod progress;
mod rejection;
mod server;
mod stream;
mod timeouts;

#[cfg(feature = "grpc")]
pub(crate) use self::middleware::common_layers;
pub(crate) use self::server::serve_on;
pub use self::{
    config::ConnectionConfig,
    in_flight::{InFlightLimit, Permit, RequestKind},
    middleware::finish,
    server::serve,
};
