//! A real DNS server on a loopback address, for the demo, the drills and the system tests.
//!
//! [`Zone`] is what it knows, and can be changed while the server runs; [`DnsServer`] is the sockets.
//! It stands where a cluster's CoreDNS stands: names of services in, addresses of pods out.

mod server;
mod zone;

pub use self::{
    server::DnsServer,
    zone::{Conduct, DEFAULT_TTL, Zone},
};
