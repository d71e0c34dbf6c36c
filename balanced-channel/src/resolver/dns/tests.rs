#[path = "../../../tests/name_server/mod.rs"]
mod name_server;

use hickory_resolver::proto::op::ResponseCode;
use name_server::{NameServer, Query, Reply, addresses};

use super::*;

const DOMAINS: [&str; 3] = ["default.svc.cluster.local.", "svc.cluster.local.", "corp.test."];

fn domains() -> Vec<Name> {
    DOMAINS.iter().map(|domain| domain.parse().unwrap()).collect()
}

fn searched(host: &str, ndots: usize) -> Vec<String> {
    names(host, &domains()[..2], ndots).unwrap().iter().map(Name::to_string).collect()
}

#[test]
fn name_with_few_dots_is_first_searched_in_the_cluster_domains() {
    let expected = ["grpc-svc.default.svc.cluster.local.", "grpc-svc.svc.cluster.local.", "grpc-svc."];
    assert_eq!(searched("grpc-svc", 5), expected);
}

#[test]
fn name_with_ndots_dots_is_first_tried_unchanged() {
    assert_eq!(searched("a.b.c", 2)[0], "a.b.c.");
    assert_eq!(searched("a.b.c", 2).len(), 3);
    assert_eq!(searched("a.b.c", 3)[2], "a.b.c.");
}

#[test]
fn absolute_name_is_not_searched() {
    assert_eq!(searched("a.b.", 5), ["a.b."]);
}

/// Returns a lookup with the resolv.conf of a pod and `server` as the DNS server of the cluster.
fn pod(server: &NameServer, host: &str) -> DnsLookup {
    let mut dns = DnsLookup::new(Some(server.address), host.to_owned(), 80);
    let (config, mut options) = dns.config.take().unwrap();
    let servers = config.name_servers().to_vec();
    options.ndots = 5;
    DnsLookup { config: Some((ResolverConfig::from_parts(None, domains(), servers), options)), ..dns }
}

async fn look(dns: &mut DnsLookup) -> Result<Vec<String>, String> {
    let answer = dns.lookup().await.map_err(|error| error.to_string())?;
    let used = answer.endpoints.iter().filter(|endpoint| !endpoint.fallback);
    Ok(used.map(|endpoint| endpoint.address.ip().to_string()).collect())
}

/// Returns a script that answers for one name, and with NXDOMAIN for every other.
fn only(name: &'static str, ip: &'static str) -> impl FnMut(&Query) -> Reply + Send {
    move |query| match query.name == name {
        true => addresses(query, [ip]),
        false => Reply::Code(ResponseCode::NXDomain),
    }
}

#[tokio::test]
async fn first_name_of_the_search_list_with_addresses_is_used() {
    for (place, name) in
        ["svc.default.svc.cluster.local.", "svc.svc.cluster.local.", "svc.corp.test.", "svc."]
            .into_iter()
            .enumerate()
    {
        let server = NameServer::start(only(name, "10.0.0.1")).await;
        let mut dns = pod(&server, "svc");
        assert_eq!(look(&mut dns).await.unwrap(), ["10.0.0.1"]);
        let mut names: Vec<_> = server.queries().iter().map(|query| query.name.clone()).collect();
        names.dedup();
        assert_eq!(names.len(), place + 1, "{names:?}");
        assert_eq!(look(&mut dns).await.unwrap(), ["10.0.0.1"]);
    }
}

#[tokio::test]
async fn unknown_name_is_an_empty_answer_and_a_failed_query_is_an_error() {
    let server = NameServer::start(|_| Reply::Code(ResponseCode::NXDomain)).await;
    let mut dns = pod(&server, "svc");
    assert_eq!(look(&mut dns).await, Ok(vec![]));
    server.set_script(|query| match query.name.as_str() {
        "svc.svc.cluster.local." => Reply::Code(ResponseCode::ServFail),
        _ => Reply::Code(ResponseCode::NXDomain),
    });
    let error = look(&mut dns).await.unwrap_err();
    assert!(error.contains("svc") && error.contains("Server Failure"), "{error}");
}

#[tokio::test]
async fn failing_search_domain_does_not_hide_later_names() {
    let server = NameServer::start(|query| match query.name.as_str() {
        "svc.default.svc.cluster.local." => Reply::Code(ResponseCode::ServFail),
        "svc.svc.cluster.local." => addresses(query, ["10.0.0.1"]),
        _ => Reply::Code(ResponseCode::NXDomain),
    })
    .await;
    assert_eq!(look(&mut pod(&server, "svc")).await.unwrap(), ["10.0.0.1"]);
}

#[tokio::test]
async fn known_name_that_fails_or_is_empty_is_not_searched_under_a_later_wildcard_domain() {
    let wildcard = |code: Option<ResponseCode>| {
        move |query: &Query| match (query.name.as_str(), code) {
            ("svc.svc.cluster.local.", None) => addresses(query, ["10.0.0.1"]),
            ("svc.svc.cluster.local.", Some(code)) => Reply::Code(code),
            (name, _) if name.ends_with("corp.test.") => addresses(query, ["192.0.2.1"]),
            _ => Reply::Code(ResponseCode::NXDomain),
        }
    };
    let server = NameServer::start(wildcard(None)).await;
    let mut dns = pod(&server, "svc");
    assert_eq!(look(&mut dns).await.unwrap(), ["10.0.0.1"]);
    server.set_script(wildcard(Some(ResponseCode::ServFail)));
    look(&mut dns).await.unwrap_err();
    // The service is scaled to zero.
    server.set_script(wildcard(Some(ResponseCode::NXDomain)));
    assert_eq!(look(&mut dns).await, Ok(vec![]));
    server.set_script(wildcard(None));
    assert_eq!(look(&mut dns).await.unwrap(), ["10.0.0.1"]);
}

#[tokio::test]
async fn dual_stack_name_keeps_one_family() {
    let server =
        NameServer::start(|query| addresses(query, ["10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"])).await;
    let mut dns = DnsLookup::new(Some(server.address), "svc.test.", 80);
    assert_eq!(look(&mut dns).await.unwrap(), ["10.0.0.1", "10.0.0.2"]);
    // The second family is the fallback.
    let answer = dns.lookup().await.unwrap();
    let fallback: Vec<_> = answer.endpoints.iter().map(|endpoint| endpoint.fallback).collect();
    assert_eq!(fallback, [false, false, true, true]);
    // The second family has one record more, as when a change happens between the two queries.
    server.set_script(|query| addresses(query, ["10.0.0.1", "fd00::1", "fd00::2"]));
    assert_eq!(look(&mut dns).await.unwrap(), ["10.0.0.1"]);
    server.set_script(|query| addresses(query, ["fd00::1", "fd00::2"]));
    assert_eq!(look(&mut dns).await.unwrap(), ["fd00::1", "fd00::2"]);
    server.set_script(|query| addresses(query, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1"]));
    assert_eq!(look(&mut dns).await.unwrap(), ["fd00::1"]);
}

#[tokio::test]
async fn failed_query_for_one_family_keeps_the_family_in_use() {
    let server = NameServer::start(|query| addresses(query, ["10.0.0.1", "fd00::1"])).await;
    let mut dns = DnsLookup::new(Some(server.address), "svc.test.", 80);
    assert_eq!(look(&mut dns).await.unwrap(), ["10.0.0.1"]);
    server.set_script(|query| match query.family {
        RecordType::A => Reply::Code(ResponseCode::ServFail),
        _ => addresses(query, ["fd00::1"]),
    });
    look(&mut dns).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn server_without_answers_for_one_family_delays_only_the_first_lookup() {
    let server = NameServer::start(|query| match query.family {
        RecordType::A => addresses(query, ["10.0.0.1"]),
        _ => Reply::Silence,
    })
    .await;
    let mut dns = DnsLookup::new(Some(server.address), "svc.test.", 80);
    assert_eq!(look(&mut dns).await.unwrap(), ["10.0.0.1"]);
    let before = server.queries().len();
    assert_eq!(look(&mut dns).await.unwrap(), ["10.0.0.1"]);
    assert!(server.queries()[before..].iter().all(|query| query.family == RecordType::A));
}

#[tokio::test(start_paused = true)]
async fn lookup_of_many_names_fails_within_the_lookup_timeout() {
    let server = NameServer::start(|_| Reply::Silence).await;
    let mut dns = pod(&server, "svc");
    let began = Instant::now();
    let error = look(&mut dns).await.unwrap_err();
    assert!(began.elapsed() <= LOOKUP_TIMEOUT + QUERY_TIMEOUT, "{:?}", began.elapsed());
    assert!(error.contains("svc") && !server.queries().is_empty(), "{error}");
}

/// In a cluster without internet access, the DNS server of the cluster answers, and its upstream servers never do.
#[tokio::test(start_paused = true)]
async fn silent_upstream_dns_server_delays_a_service_that_appears_by_the_search_timeout() {
    let outside = |query: &Query| !query.name.ends_with("cluster.local.");
    let server = NameServer::start(move |query| match outside(query) {
        true => Reply::Silence,
        false => Reply::Code(ResponseCode::NXDomain),
    })
    .await;
    let mut dns = pod(&server, "svc");
    let began = Instant::now();
    let error = look(&mut dns).await.unwrap_err();
    // Two names with two queries each would take 4 s.
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(error.contains("svc"), "{error}");
    server.set_script(only("svc.default.svc.cluster.local.", "10.0.0.1"));
    assert_eq!(look(&mut dns).await.unwrap(), ["10.0.0.1"]);
}
