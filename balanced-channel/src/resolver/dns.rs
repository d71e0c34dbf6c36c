//! DNS: every address of a name, looked up at the record's TTL within bounds, and when asked.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::future::BoxFuture;
use hickory_resolver::{
    TokioResolver,
    config::{NameServerConfig, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::rr::{Name, RecordType},
    system_conf::read_system_conf,
};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Refresh, ResolveError, Resolver, Updates};
use crate::backoff::{Backoff, BackoffPolicy};

/// How long one query may go unanswered before the next server, or the next attempt.
const QUERY_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a whole lookup may take: every search domain, every server, every attempt.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest pause between lookups that fail.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Looks one name up for as long as the channel lives.
#[derive(Debug)]
pub(crate) struct Dns {
    /// The server to ask; the system's when absent.
    pub(crate) server: Option<SocketAddr>,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) refresh: Refresh,
}

/// The stub resolver, and the names to try with it in turn (resolv.conf: `search`, `ndots`).
struct Lookup {
    resolver: TokioResolver,
    names: Vec<Name>,
    /// The address family in use. Pods of a dual-stack service have an address of each, and one
    /// pod must be one endpoint.
    family: Option<RecordType>,
}

/// The addresses of a name, and how long they may be believed.
struct Answer {
    addresses: BTreeSet<IpAddr>,
    ttl: Duration,
}

// === impl Dns ===

impl Resolver for Dns {
    fn run(self: Box<Self>, updates: Updates) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut lookup = None;
            let mut pause = Backoff::new(BackoffPolicy {
                initial: self.refresh.min,
                max: MAX_PAUSE.max(self.refresh.min),
                ..BackoffPolicy::default()
            });
            loop {
                let began = Instant::now();
                let soonest = began + self.refresh.min;
                let next = match self.look(&mut lookup).await {
                    Ok(answer) => {
                        pause.reset();
                        updates.publish(
                            answer.addresses.iter().map(|ip| SocketAddr::new(*ip, self.port).into()),
                        );
                        began + self.refresh.after(answer.ttl)
                    }
                    Err(error) => {
                        tracing::debug!(host = self.host, %error, "lookup failed");
                        updates.fail(error);
                        Instant::now() + pause.wait()
                    }
                };
                tokio::select! {
                    () = sleep_until(next) => {}
                    () = updates.asked() => sleep_until(soonest).await,
                }
            }
        })
    }
}

impl Dns {
    async fn look(&self, lookup: &mut Option<Lookup>) -> Result<Answer, ResolveError> {
        let explain = |what: String| ResolveError(format!("DNS lookup of {} failed: {what}", self.host));
        let lookup = match lookup {
            Some(lookup) => lookup,
            None => lookup.insert(Lookup::new(self.server, &self.host).map_err(|e| explain(e.to_string()))?),
        };
        match timeout(LOOKUP_TIMEOUT, lookup.answer()).await {
            Ok(answer) => answer.map_err(|error| explain(error.to_string())),
            Err(_) => Err(explain(format!("no answer within {LOOKUP_TIMEOUT:?}"))),
        }
    }
}

// === impl Lookup ===

impl Lookup {
    fn new(server: Option<SocketAddr>, host: &str) -> Result<Self, NetError> {
        let (config, mut options) = match server {
            None => read_system_conf()?,
            Some(address) => {
                let mut server = NameServerConfig::udp_and_tcp(address.ip());
                for connection in &mut server.connections {
                    connection.port = address.port();
                }
                (ResolverConfig::from_name_servers(vec![server]), ResolverOpts::default())
            }
        };
        // Every lookup is meant to see the present; how often to look is this file's decision.
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
    async fn answer(&mut self) -> Result<Answer, NetError> {
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
                (Ok(v4), Err(_)) => (v4, Answer::none()),
                (Err(_), Ok(v6)) => (Answer::none(), v6),
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
        failure.map_or_else(|| Ok(Answer::none()), Err)
    }
}

// === impl Answer ===

impl Answer {
    fn none() -> Self {
        Self { addresses: BTreeSet::new(), ttl: Duration::ZERO }
    }
}

async fn query(resolver: &TokioResolver, name: &Name, family: RecordType) -> Result<Answer, NetError> {
    match resolver.lookup(name.clone(), family).await {
        Ok(lookup) => {
            let records = lookup.answers();
            Ok(Answer {
                addresses: records.iter().filter_map(|record| record.data.ip_addr()).collect(),
                ttl: Duration::from_secs(records.iter().map(|record| record.ttl).min().unwrap_or(0).into()),
            })
        }
        // NXDOMAIN, or a name without such records: what a headless service with no ready pod gives.
        Err(NetError::Dns(DnsError::NoRecordsFound(_))) => Ok(Answer::none()),
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
