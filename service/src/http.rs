//! The HTTP server of every program: HTTP/1.1 and HTTP/2 with prior knowledge on one port.
//!
//! - [`finish`] wraps a router in the middleware that every program has.
//! - [`serve`] accepts connections within [`ConnectionConfig`], serves the router on them, and drains them at shutdown.
//! - [`InFlightLimit`] bounds the requests in flight, with a part for each connection.
//! - `waits` defines how long a connection may wait for each thing.
//!
//! hyper itself refuses what it cannot parse (400), a head that is too large (431) and an incomplete head (408 or a
//! closed connection). The responses are problems, without a request ID, and are counted in
//! `server_connections_closed_total`. A client that closes its side of the connection after a request is taken for
//! gone, and its request is cancelled: end of file is the only sign that hyper has of a client that left (RFC 9112,
//! section 9.6 allows it).

mod config;
mod connection;
mod executor;
mod malformed;
mod middleware;
mod progress;
mod quota;
mod rejection;
mod server;
mod stream;
mod waits;

#[cfg(feature = "grpc")]
pub(crate) use self::middleware::common_layers;
pub(crate) use self::server::serve_on;
pub use self::{
    config::ConnectionConfig,
    middleware::finish,
    quota::{InFlightLimit, Kind, Permit},
    server::serve,
};
