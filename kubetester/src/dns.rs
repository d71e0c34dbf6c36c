//! A real DNS server on a loopback address, for the demo, the drills and the system tests.
//!
//! [`Zone`] holds the names and addresses and can be changed while the server runs. [`DnsServer`] owns the sockets.
//! The server takes the place of a cluster's CoreDNS: it resolves names of services to addresses of pods.

mod server;
mod zone;

pub use self::{
    server::DnsServer,
    zone::{DEFAULT_TTL, ResponseMode, Zone},
};
