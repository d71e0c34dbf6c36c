//! DNS lookups of all addresses of a name, with the search list of resolv.conf.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{NameServerConfig, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::rr::{Name, RecordType},
    system_conf::read_system_conf,
};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Endpoint, Lookup, LookupAnswer, ResolveError};

/// The default time for the response to one query.
const QUERY_TIMEOUT: Duration = Duration::from_secs(1);
/// The time for a whole lookup: all search domains, servers and attempts.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// The time for the rest of the search list after the first name that does not exist, if no lookup has found a name
/// yet. The DNS server of the cluster has answered by then; a server to which it forwards the remaining names may never
/// answer.
const SEARCH_TIMEOUT: Duration = QUERY_TIMEOUT;

/// Looks up the addresses of a host in DNS: the [`Lookup`] of `dns:///` targets.
///
/// Follows resolv.conf(5), with its search list, and the hosts file. Queries A and AAAA records, without a cache. The
/// endpoints of one address family are preferred; those of the second family get calls only while no endpoint of the
/// first can be reached.
#[derive(Debug)]
pub struct DnsLookup {
    host: String,
    port: u16,
    query_timeout: Duration,
    /// The DNS configuration; `None` for that of resolv.conf.
    config: Option<(ResolverConfig, ResolverOpts)>,
    /// The stub resolver, created by the first lookup that can read resolv.conf, which may not exist yet.
    stub: Option<Stub>,
}

/// The stub resolver, and the names to query in order (resolv.conf: `search`, `ndots`).
#[derive(Debug)]
struct Stub {
    resolver: TokioResolver,
    names: Vec<Name>,
    /// The last lookup that found addresses.
    last_found: Option<LastFound>,
}

/// The name and record type of the last lookup that found addresses. They stay in use, so that a single query that
/// fails or returns stale data does not move every call to other endpoints.
#[derive(Clone, Copy, Debug)]
struct LastFound {
    /// The index of the name.
    place: usize,
    /// The address family. Pods of a dual-stack service have an address of each, and one pod must be one endpoint.
    family: RecordType,
    /// True if the name had addresses of both families.
    dual_stack: bool,
}

/// The addresses of a name, and the time for which they are valid.
struct Addresses {
    addresses: BTreeSet<IpAddr>,
    /// The addresses of the second family, for use while the first ones cannot be reached.
    other_family: BTreeSet<IpAddr>,
    ttl: Duration,
}

// === impl DnsLookup ===

impl DnsLookup {
    /// Looks up `host` with the DNS server `server`, or with those of `/etc/resolv.conf` if it is `None`. The endpoints
    /// get `port`.
    pub fn new(server: Option<SocketAddr>, host: impl Into<String>, port: u16) -> Self {
        let config = server.map(|address| {
            let mut server = NameServerConfig::udp_and_tcp(address.ip());
            for connection in &mut server.connections {
                connection.port = address.port();
            }
            (ResolverConfig::from_name_servers(vec![server]), ResolverOpts::default())
        });
        Self { host: host.into(), port, query_timeout: QUERY_TIMEOUT, config, stub: None }
    }

    /// Sets the maximum time for the response to one query, after which the query is repeated or sent to the next
    /// server. Default: 1 s.
    #[must_use]
    pub fn query_timeout(self, timeout: Duration) -> Self {
        Self { query_timeout: timeout, ..self }
    }

    async fn addresses(&mut self) -> Result<Addresses, String> {
        let stub = match &mut self.stub {
            Some(stub) => stub,
            none => {
                let (config, options) = match &self.config {
                    Some(config) => config.clone(),
                    None => read_system_conf()
                        .map_err(|error| format!("/etc/resolv.conf is unusable: {error}"))?,
                };
                let stub = Stub::new(config, options, self.query_timeout, &self.host);
                none.insert(stub.map_err(|error| error.to_string())?)
            }
        };
        match timeout(LOOKUP_TIMEOUT, stub.addresses()).await {
            Ok(addresses) => addresses.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {LOOKUP_TIMEOUT:?}")),
        }
    }
}

impl Lookup for DnsLookup {
    async fn lookup(&mut self) -> Result<LookupAnswer, ResolveError> {
        let Addresses { addresses, other_family, ttl } = self
            .addresses()
            .await
            .map_err(|what| ResolveError(format!("DNS lookup of {} failed: {what}", self.host)))?;
        let endpoint = |ip| Endpoint::from(SocketAddr::new(ip, self.port));
        let fallback = other_family.into_iter().map(|ip| endpoint(ip).into_fallback());
        Ok(LookupAnswer { endpoints: addresses.into_iter().map(endpoint).chain(fallback).collect(), ttl })
    }
}

// === impl Stub ===

impl Stub {
    fn new(
        config: ResolverConfig,
        mut options: ResolverOpts,
        query_timeout: Duration,
        host: &str,
    ) -> Result<Self, NetError> {
        options.cache_size = 0;
        options.timeout = options.timeout.min(query_timeout);
        let names = names(host, &config.search, options.ndots)?;
        let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options)
            .build()?;
        Ok(Self { resolver, names, last_found: None })
    }

    /// Returns the addresses of the first name of the search list that has any. If no name exists, the answer is empty
    /// (no endpoint is ready); if a query fails and no later name has addresses, the lookup fails. The search ends with
    /// the name that the last successful lookup found, even if it has no addresses now: the service may be scaled to
    /// zero, and a later name may belong to another service.
    async fn addresses(&mut self) -> Result<Addresses, NetError> {
        let (mut failure, mut end) = (None, None);
        for (place, name) in self.names.iter().enumerate() {
            let answer = match end.filter(|_| self.last_found.is_none()) {
                Some(end) => timeout_at(end, self.family(name)).await.unwrap_or(Err(NetError::Timeout)),
                None => self.family(name).await,
            };
            match answer {
                Ok((_, found)) if found.addresses.is_empty() => {
                    if self.last_found.is_some_and(|found| place == found.place) {
                        return failure.map_or(Ok(found), Err);
                    }
                    end.get_or_insert_with(|| Instant::now() + SEARCH_TIMEOUT);
                }
                Ok((family, found)) => {
                    let dual_stack =
                        !found.other_family.is_empty() || self.last_found.is_some_and(|last| last.dual_stack);
                    self.last_found = Some(LastFound { place, family, dual_stack });
                    return Ok(found);
                }
                Err(error) if self.last_found.is_some_and(|found| place <= found.place) => return Err(error),
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or_else(|| Ok(Addresses::none()), Err)
    }

    /// Returns the addresses of one family: the one used last, as long as the name has addresses of that family.
    async fn family(&self, name: &Name) -> Result<(RecordType, Addresses), NetError> {
        if let Some(LastFound { family, dual_stack, .. }) = self.last_found {
            let other = if family == RecordType::A { RecordType::AAAA } else { RecordType::A };
            let (addresses, second) = tokio::join!(query(&self.resolver, name, family), async {
                if !dual_stack {
                    return None;
                }
                // The answer for the preferred family waits only a limited time for the second one.
                timeout(QUERY_TIMEOUT, query(&self.resolver, name, other)).await.ok()?.ok()
            });
            let addresses = addresses?;
            if !addresses.addresses.is_empty() {
                let other_family = second.map(|second| second.addresses).unwrap_or_default();
                return Ok((family, Addresses { other_family, ..addresses }));
            }
            return Ok((other, query(&self.resolver, name, other).await?));
        }
        let (v4, v6) = tokio::join!(
            query(&self.resolver, name, RecordType::A),
            query(&self.resolver, name, RecordType::AAAA),
        );
        match (v4, v6) {
            (Ok(v4), Ok(v6)) if v4.addresses.len() < v6.addresses.len() => {
                Ok((RecordType::AAAA, Addresses { other_family: v4.addresses, ..v6 }))
            }
            (Ok(v4), Ok(v6)) => Ok((RecordType::A, Addresses { other_family: v6.addresses, ..v4 })),
            // Some servers never answer queries for a family that their network does not use.
            (Ok(v4), Err(_)) if !v4.addresses.is_empty() => Ok((RecordType::A, v4)),
            (Err(_), Ok(v6)) if !v6.addresses.is_empty() => Ok((RecordType::AAAA, v6)),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }
}

// === impl Addresses ===

impl Addresses {
    fn none() -> Self {
        Self { addresses: BTreeSet::new(), other_family: BTreeSet::new(), ttl: Duration::ZERO }
    }
}

async fn query(resolver: &TokioResolver, name: &Name, family: RecordType) -> Result<Addresses, NetError> {
    match resolver.lookup(name.clone(), family).await {
        Ok(lookup) => {
            let records = lookup.answers();
            Ok(Addresses {
                addresses: records.iter().filter_map(|record| record.data.ip_addr()).collect(),
                other_family: BTreeSet::new(),
                ttl: Duration::from_secs(records.iter().map(|record| record.ttl).min().unwrap_or(0).into()),
            })
        }
        // NXDOMAIN, or a name without such records, as for a headless service without a ready pod.
        Err(NetError::Dns(DnsError::NoRecordsFound(_))) => Ok(Addresses::none()),
        Err(error) => Err(error),
    }
}

/// Returns the fully qualified names to try, in order (resolv.conf(5)).
fn names(host: &str, search: &[Name], ndots: usize) -> Result<Vec<Name>, NetError> {
    // `from_utf8` rejects an underscore inside a name, and Docker Compose creates such names.
    let mut name = Name::from_ascii(host)?;
    if name.is_fqdn() {
        return Ok(vec![name]);
    }
    let mut names = Vec::with_capacity(search.len() + 1);
    for domain in search {
        let mut full = name.clone().append_domain(domain)?;
        full.set_fqdn(true);
        names.push(full);
    }
    let dots = usize::from(name.num_labels()).saturating_sub(1);
    name.set_fqdn(true);
    let place = if dots >= ndots || name.is_localhost() { 0 } else { names.len() };
    names.insert(place, name);
    Ok(names)
}

#[cfg(test)]
mod tests;
