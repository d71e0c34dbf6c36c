//! Finds the HTTP backend's addresses: DNS asked at most once a second, every answer begun at another address.
//!
//! A resolver that caches for the record's time to live would send every new connection to the same first pod,
//! for as long as ten minutes with Docker's DNS. The system's own resolver is not asked because it blocks a
//! thread for each question.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};

/// How long an answer, or its absence, is believed, whatever its time to live.
const BELIEVED: Duration = Duration::from_secs(1);

/// How long one question may take before it is asked again: a lost packet must not use up a call's deadline.
const PATIENCE: Duration = Duration::from_millis(400);

/// Hands out a name's addresses, beginning with the next one each time.
#[derive(Debug)]
pub(crate) struct RotatingResolver {
    /// Or why there is none; that matters only once there is a name to resolve.
    resolver: Result<TokioResolver, String>,
    turn: AtomicUsize,
}

// === impl RotatingResolver ===

impl RotatingResolver {
    /// Asks `server`, or the servers in `/etc/resolv.conf` if none is given.
    pub(crate) fn new(server: Option<SocketAddr>) -> Self {
        // Many gateways that start together should not all begin at the same pod.
        let turn = AtomicUsize::new(fastrand::usize(..));
        Self { resolver: resolver(server), turn }
    }

    /// The addresses of `name`, none missing.
    ///
    /// # Errors
    ///
    /// One sentence that says why there are none.
    pub(crate) async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        let resolver = self.resolver.as_ref().map_err(Clone::clone)?;
        let found =
            resolver.lookup_ip(name).await.map_err(|error| format!("cannot resolve {name}: {error}"))?;
        let mut addresses: Vec<_> = found.iter().collect();
        // In one order first, or a server that turns its answers itself could undo the turn made here.
        addresses.sort_unstable();
        let first = self.turn.fetch_add(1, Relaxed) % addresses.len().max(1);
        addresses.rotate_left(first);
        Ok(addresses)
    }
}

fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, String> {
    let mut builder = match server {
        None => TokioResolver::builder_tokio()
            .map_err(|error| format!("cannot read the system's DNS configuration: {error}"))?,
        Some(server) => {
            let mut at = NameServerConfig::udp_and_tcp(server.ip());
            for connection in &mut at.connections {
                connection.port = server.port();
            }
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![at]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.positive_max_ttl = Some(BELIEVED);
    options.negative_max_ttl = Some(BELIEVED);
    options.timeout = PATIENCE;
    builder.build().map_err(|error| format!("cannot set up DNS: {error}"))
}
