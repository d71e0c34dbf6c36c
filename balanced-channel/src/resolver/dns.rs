//! DNS: every address of a name, looked up at the record's TTL within bounds, and when asked.

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
use tokio::time::timeout;

use super::{Answer, Lookup, ResolveError};

/// How long one query may go unanswered before the next server, or the next attempt.
const QUERY_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a whole lookup may take: every search domain, every server, every attempt.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Looks one name up.
pub(crate) struct Dns {
    host: String,
    port: u16,
    /// Who is asked, and how; what resolv.conf says when absent.
    config: Option<(ResolverConfig, ResolverOpts)>,
    /// Made at the first lookup, and again until it can be: the system may not be ready yet.
    stub: Option<Stub>,
}

/// The stub resolver, and the names to try with it in turn (resolv.conf: `search`, `ndots`).
struct Stub {
    resolver: TokioResolver,
    names: Vec<Name>,
    /// The address family in use. Pods of a dual-stack service have an address of each, and one
    /// pod must be one endpoint.
    family: Option<RecordType>,
}

/// The addresses of a name, and how long they may be believed.
struct Addresses {
    addresses: BTreeSet<IpAddr>,
    ttl: Duration,
}

// === impl Dns ===

impl Dns {
    /// Looks `host` up with `server`, or with the system's servers.
    pub(crate) fn new(server: Option<SocketAddr>, host: String, port: u16) -> Self {
        let config = server.map(|address| {
            let mut server = NameServerConfig::udp_and_tcp(address.ip());
            for connection in &mut server.connections {
                connection.port = address.port();
            }
            (ResolverConfig::from_name_servers(vec![server]), ResolverOpts::default())
        });
        Self { host, port, config, stub: None }
    }

    async fn addresses(&mut self) -> Result<Addresses, String> {
        let stub = match &mut self.stub {
            Some(stub) => stub,
            none => {
                none.insert(Stub::new(self.config.clone(), &self.host).map_err(|error| error.to_string())?)
            }
        };
        match timeout(LOOKUP_TIMEOUT, stub.addresses()).await {
            Ok(addresses) => addresses.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {LOOKUP_TIMEOUT:?}")),
        }
    }
}

impl Lookup for Dns {
    async fn look(&mut self) -> Result<Answer, ResolveError> {
        let Addresses { addresses, ttl } = self
            .addresses()
            .await
            .map_err(|what| ResolveError(format!("DNS lookup of {} failed: {what}", self.host)))?;
        let endpoints = addresses.into_iter().map(|ip| SocketAddr::new(ip, self.port).into()).collect();
        Ok(Answer { endpoints, ttl })
    }
}

// === impl Stub ===

impl Stub {
    fn new(config: Option<(ResolverConfig, ResolverOpts)>, host: &str) -> Result<Self, NetError> {
        let (config, mut options) = config.map_or_else(read_system_conf, Ok)?;
        // Every lookup is meant to see the present; how often to look is not decided here.
        options.cache_size = 0;
        options.timeout = options.timeout.min(QUERY_TIMEOUT);
        let names = names(host, &config.search, options.ndots)?;
        let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options)
            .build()?;
        Ok(Self { resolver, names, family: None })
    }

    /// The first name of the search list that has an address wins. A name that does not exist is an
    /// answer (nothing is ready), a server that fails is not: one such failure on the way, and
    /// nothing found elsewhere, fails the whole lookup.
    async fn addresses(&mut self) -> Result<Addresses, NetError> {
        let mut failure = None;
        for name in &self.names {
            let (v4, v6) = tokio::join!(
                query(&self.resolver, name, RecordType::A),
                query(&self.resolver, name, RecordType::AAAA),
            );
            let (v4, v6) = match (v4, v6) {
                (Ok(v4), Ok(v6)) => (v4, v6),
                // Half an answer must not look like the loss of every pod of the other family.
                (Ok(v4), Err(error)) if v4.addresses.is_empty() || self.family == Some(RecordType::AAAA) => {
                    failure = Some(error);
                    continue;
                }
                (Err(error), Ok(v6)) if v6.addresses.is_empty() || self.family == Some(RecordType::A) => {
                    failure = Some(error);
                    continue;
                }
                (Ok(v4), Err(_)) => (v4, Addresses::none()),
                (Err(_), Ok(v6)) => (Addresses::none(), v6),
                (Err(error), Err(_)) => {
                    failure = Some(error);
                    continue;
                }
            };
            let (family, answer) = if v4.addresses.len() >= v6.addresses.len() {
                (RecordType::A, v4)
            } else {
                (RecordType::AAAA, v6)
            };
            if !answer.addresses.is_empty() {
                self.family = Some(family);
                return Ok(answer);
            }
        }
        failure.map_or_else(|| Ok(Addresses::none()), Err)
    }
}

// === impl Addresses ===

impl Addresses {
    fn none() -> Self {
        Self { addresses: BTreeSet::new(), ttl: Duration::ZERO }
    }
}

async fn query(resolver: &TokioResolver, name: &Name, family: RecordType) -> Result<Addresses, NetError> {
    match resolver.lookup(name.clone(), family).await {
        Ok(lookup) => {
            let records = lookup.answers();
            Ok(Addresses {
                addresses: records.iter().filter_map(|record| record.data.ip_addr()).collect(),
                ttl: Duration::from_secs(records.iter().map(|record| record.ttl).min().unwrap_or(0).into()),
            })
        }
        // NXDOMAIN, or a name without such records: what a headless service with no ready pod gives.
        Err(NetError::Dns(DnsError::NoRecordsFound(_))) => Ok(Addresses::none()),
        Err(error) => Err(error),
    }
}

/// The fully qualified names to try, in order (resolv.conf(5)).
fn names(host: &str, search: &[Name], ndots: usize) -> Result<Vec<Name>, NetError> {
    let mut name = Name::from_utf8(host)?;
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
mod tests {
    use super::*;

    fn search(host: &str, ndots: usize) -> Vec<String> {
        let domains: Vec<Name> = ["default.svc.cluster.local.", "svc.cluster.local."]
            .iter()
            .map(|domain| domain.parse().unwrap())
            .collect();
        names(host, &domains, ndots).unwrap().iter().map(Name::to_string).collect()
    }

    #[test]
    fn a_short_name_is_searched_first_in_the_clusters_domains() {
        let expected = ["grpc-svc.default.svc.cluster.local.", "grpc-svc.svc.cluster.local.", "grpc-svc."];
        assert_eq!(search("grpc-svc", 5), expected);
    }

    #[test]
    fn a_name_with_enough_dots_is_tried_as_it_is_first() {
        assert_eq!(search("a.b.c", 2)[0], "a.b.c.");
        assert_eq!(search("a.b.c", 2).len(), 3);
        assert_eq!(search("a.b.c", 3)[2], "a.b.c.");
    }

    #[test]
    fn an_absolute_name_is_not_searched() {
        assert_eq!(search("a.b.", 5), ["a.b."]);
    }
}
