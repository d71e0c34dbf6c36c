//! The resolver of the HTTP backend. It queries DNS at most once a second, and returns the addresses in another order for
//! each connection.
//!
//! A resolver that caches an answer for its time to live would send every new connection to the same pod first, with
//! Docker's DNS for up to 600 s. While DNS fails, the last known addresses stay in use.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use balanced_channel::{DnsLookup, Lookup as _, ResolveError};
use prometheus::{Gauge, IntCounter};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use service::Metrics;
use tokio::time::{Instant, timeout};
use url::Url;

/// The time between two DNS lookups, whatever the time to live of an answer.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// The time after which a query is repeated, so that a lost packet does not use up the deadline of a request.
const QUERY_TIMEOUT: Duration = Duration::from_millis(400);

/// The time that a request waits for a DNS lookup when earlier addresses are known.
const STALE_WAIT: Duration = Duration::from_millis(200);

/// The time for which new connections avoid an address that accepted a connection and did not respond in time.
const AVOID_TIME: Duration = Duration::from_secs(5);

/// The field `route` of log lines.
const ROUTE: &str = "/hellohttp";

/// Resolves names; each result starts with the next address. Clones share their state.
#[derive(Clone, Debug)]
pub(crate) struct RotatingResolver(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The URL of the HTTP backend, for the log.
    target: String,
    server: Option<SocketAddr>,
    next: AtomicUsize,
    names: Mutex<HashMap<String, KnownName>>,
    avoided: Mutex<HashMap<IpAddr, Instant>>,
    failures: IntCounter,
    last_success: Gauge,
}

/// The last successful answer for a name, and the time of the last lookup.
#[derive(Debug)]
struct KnownName {
    /// Empty before the first successful answer.
    addresses: Vec<IpAddr>,
    looked_up_at: Instant,
    failing: bool,
}

// === impl RotatingResolver ===

impl RotatingResolver {
    /// Queries `server`, or the servers in `/etc/resolv.conf` if it is `None`.
    pub(crate) fn new(target: &Url, server: Option<SocketAddr>, metrics: &Metrics) -> Self {
        let failures = IntCounter::new(
            "helloserve_http_dns_failures_total",
            "DNS lookups of the HTTP backend's name that failed.",
        )
        .expect("the name is valid");
        let last_success = Gauge::new(
            "helloserve_http_dns_last_success_timestamp_seconds",
            "When DNS last had an address for the HTTP backend's name, in Unix time.",
        )
        .expect("the name is valid");
        metrics.register(failures.clone());
        metrics.register(last_success.clone());
        Self(Arc::new(Shared {
            target: target.to_string(),
            server,
            // Many gateways that start together must not all start at the same pod.
            next: AtomicUsize::new(fastrand::usize(..)),
            names: Mutex::default(),
            avoided: Mutex::default(),
            failures,
            last_success,
        }))
    }

    /// Returns the addresses of `name` in the order in which to connect, never empty.
    ///
    /// # Errors
    ///
    /// If DNS fails and no earlier answer is known.
    pub(crate) async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let known = {
            let mut names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
            match names.get_mut(name) {
                Some(known)
                    if !known.addresses.is_empty() && known.looked_up_at.elapsed() < REFRESH_INTERVAL =>
                {
                    let addresses = known.addresses.clone();
                    drop(names);
                    return Ok(self.rotated(addresses));
                }
                // Other requests use the known addresses during this lookup.
                Some(known) if !known.addresses.is_empty() => {
                    known.looked_up_at = Instant::now();
                    Some(known.addresses.clone())
                }
                _ => None,
            }
        };
        let lookup = tokio::spawn(self.clone().refresh(name.to_owned()));
        let answer = match known {
            Some(known) => match timeout(STALE_WAIT, lookup).await {
                Ok(Ok(Ok(addresses))) => addresses,
                _ => known,
            },
            None => lookup.await.expect("a lookup does not panic")?,
        };
        Ok(self.rotated(answer))
    }

    /// Makes new connections avoid `address` for [`AVOID_TIME`].
    pub(crate) fn avoid(&self, address: IpAddr) {
        let mut avoided = self.0.avoided.lock().unwrap_or_else(PoisonError::into_inner);
        avoided.retain(|_, until| *until > Instant::now());
        avoided.insert(address, Instant::now() + AVOID_TIME);
    }

    /// Queries DNS and stores a successful answer. Runs to its end even if the request that started it stops waiting.
    async fn refresh(self, name: String) -> Result<Vec<IpAddr>, ResolveError> {
        let answer = self.query(&name).await;
        let mut names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
        match &answer {
            Ok(addresses) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                self.0.last_success.set(now.as_secs_f64());
                let known =
                    KnownName { addresses: addresses.clone(), looked_up_at: Instant::now(), failing: false };
                if names.insert(name.clone(), known).is_some_and(|before| before.failing) {
                    let (target, addresses) = (&self.0.target, addresses.len());
                    tracing::warn!(route = ROUTE, target, name, addresses, "name resolution works again");
                }
            }
            Err(error) => {
                self.0.failures.inc();
                let known = names.entry(name.clone()).or_insert_with(|| KnownName {
                    addresses: Vec::new(),
                    looked_up_at: Instant::now(),
                    failing: false,
                });
                if !std::mem::replace(&mut known.failing, true) {
                    let (target, addresses) = (&self.0.target, known.addresses.len());
                    tracing::warn!(
                        route = ROUTE,
                        target,
                        name,
                        %error,
                        addresses,
                        "name resolution fails; the last known addresses stay in use"
                    );
                }
            }
        }
        answer
    }

    async fn query(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        // Created for each lookup, so that changes of /etc/resolv.conf take effect.
        let answer = DnsLookup::new(self.0.server, name, 0).query_timeout(QUERY_TIMEOUT).lookup().await?;
        if answer.endpoints.is_empty() {
            return Err(ResolveError::new(format!("DNS lookup of {name} failed: the name has no addresses")));
        }
        let mut addresses: Vec<_> = answer.endpoints.iter().map(|endpoint| endpoint.address.ip()).collect();
        // In a fixed order: a DNS server that rotates its answers could cancel out the rotation here.
        addresses.sort_unstable();
        Ok(addresses)
    }

    fn rotated(&self, mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
        let first = self.0.next.fetch_add(1, Relaxed) % addresses.len();
        addresses.rotate_left(first);
        let avoided = self.0.avoided.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        // Moves avoided addresses to the end. The sort is stable, so the others stay rotated.
        addresses.sort_by_key(|address| avoided.get(address).is_some_and(|until| *until > now));
        addresses
    }
}

impl Resolve for RotatingResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let addresses = this.addresses(name.as_str()).await?;
            super::opened::connecting_to(addresses[0]);
            // reqwest replaces port 0 by the port of the URL.
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}
