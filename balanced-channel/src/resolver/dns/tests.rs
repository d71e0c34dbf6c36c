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
fn a_short_name_is_searched_first_in_the_clusters_domains() {
    let expected = ["grpc-svc.default.svc.cluster.local.", "grpc-svc.svc.cluster.local.", "grpc-svc."];
    assert_eq!(searched("grpc-svc", 5), expected);
}

#[test]
fn a_name_with_enough_dots_is_tried_as_it_is_first() {
    assert_eq!(searched("a.b.c", 2)[0], "a.b.c.");
    assert_eq!(searched("a.b.c", 2).len(), 3);
    assert_eq!(searched("a.b.c", 3)[2], "a.b.c.");
}

#[test]
fn an_absolute_name_is_not_searched() {
    assert_eq!(searched("a.b.", 5), ["a.b."]);
}

/// Returns a lookup with a pod's resolv.conf, with `server` as the cluster's.
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

/// Answers for one name, and says of every other that it does not exist.
fn only(name: &'static str, ip: &'static str) -> impl FnMut(&Query) -> Reply + Send {
    move |asked| match asked.name == name {
        true => addresses(asked, [ip]),
        false => Reply::Code(ResponseCode::NXDomain),
    }
}

#[tokio::test]
async fn the_first_name_of_the_search_list_that_has_addresses_is_used() {
    for (place, name) in
        ["svc.default.svc.cluster.local.", "svc.svc.cluster.local.", "svc.corp.test.", "svc."]
            .into_iter()
            .enumerate()
    {
        let server = NameServer::start(only(name, "10.0.0.1")).await;
        let mut dns = pod(&server, "svc");
        assert_eq!(look(&mut dns).await.unwrap(), ["10.0.0.1"]);
        let mut asked: Vec<_> = server.queries().iter().map(|asked| asked.name.clone()).collect();
        asked.dedup();
        assert_eq!(asked.len(), place + 1, "{asked:?}");
        assert_eq!(look(&mut dns).await.unwrap(), ["10.0.0.1"]);
    }
}

#[tokio::test]
async fn a_name_that_is_nowhere_is_an_empty_answer_and_a_failure_on_the_way_is_none() {
    let server = NameServer::start(|_| Reply::Code(ResponseCode::NXDomain)).await;
    let mut dns = pod(&server, "svc");
    assert_eq!(look(&mut dns).await, Ok(vec![]));
    server.set_script(|asked| match asked.name.as_str() {
        "svc.svc.cluster.local." => Reply::Code(ResponseCode::ServFail),
        _ => Reply::Code(ResponseCode::NXDomain),
    });
    let error = look(&mut dns).await.unwrap_err();
    assert!(error.contains("svc") && error.contains("Server Failure"), "{error}");
}

#[tokio::test]
async fn a_search_domain_that_always_fails_does_not_hide_the_names_after_it() {
    let server = NameServer::start(|asked| match asked.name.as_str() {
        "svc.default.svc.cluster.local." => Reply::Code(ResponseCode::ServFail),
        "svc.svc.cluster.local." => addresses(asked, ["10.0.0.1"]),
        _ => Reply::Code(ResponseCode::NXDomain),
    })
    .await;
    assert_eq!(look(&mut pod(&server, "svc")).await.unwrap(), ["10.0.0.1"]);
}

#[tokio::test]
async fn a_name_that_was_found_and_then_fails_or_is_empty_is_not_sought_under_the_companys_wildcard() {
    let wildcard = |code: Option<ResponseCode>| {
        move |asked: &Query| match (asked.name.as_str(), code) {
            ("svc.svc.cluster.local.", None) => addresses(asked, ["10.0.0.1"]),
            ("svc.svc.cluster.local.", Some(code)) => Reply::Code(code),
            (name, _) if name.ends_with("corp.test.") => addresses(asked, ["192.0.2.1"]),
            _ => Reply::Code(ResponseCode::NXDomain),
        }
    };
    let server = NameServer::start(wildcard(None)).await;
    let mut dns = pod(&server, "svc");
    assert_eq!(look(&mut dns).await.unwrap(), ["10.0.0.1"]);
    server.set_script(wildcard(Some(ResponseCode::ServFail)));
    look(&mut dns).await.unwrap_err();
    // Scaled to nothing.
    server.set_script(wildcard(Some(ResponseCode::NXDomain)));
    assert_eq!(look(&mut dns).await, Ok(vec![]));
    server.set_script(wildcard(None));
    assert_eq!(look(&mut dns).await.unwrap(), ["10.0.0.1"]);
}

#[tokio::test]
async fn of_a_dual_stack_name_one_family_is_used_and_kept() {
    let server =
        NameServer::start(|asked| addresses(asked, ["10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"])).await;
    let mut dns = DnsLookup::new(Some(server.address), "svc.test.", 80);
    assert_eq!(look(&mut dns).await.unwrap(), ["10.0.0.1", "10.0.0.2"]);
    // The other one is there for the case that nothing of this one can be reached.
    let answer = dns.lookup().await.unwrap();
    let fallback: Vec<_> = answer.endpoints.iter().map(|endpoint| endpoint.fallback).collect();
    assert_eq!(fallback, [false, false, true, true]);
    // One record of the other family more, as when the two queries straddle a change.
    server.set_script(|asked| addresses(asked, ["10.0.0.1", "fd00::1", "fd00::2"]));
    assert_eq!(look(&mut dns).await.unwrap(), ["10.0.0.1"]);
    server.set_script(|asked| addresses(asked, ["fd00::1", "fd00::2"]));
    assert_eq!(look(&mut dns).await.unwrap(), ["fd00::1", "fd00::2"]);
    server.set_script(|asked| addresses(asked, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1"]));
    assert_eq!(look(&mut dns).await.unwrap(), ["fd00::1"]);
}

#[tokio::test]
async fn half_an_answer_does_not_look_like_the_loss_of_a_family() {
    let server = NameServer::start(|asked| addresses(asked, ["10.0.0.1", "fd00::1"])).await;
    let mut dns = DnsLookup::new(Some(server.address), "svc.test.", 80);
    assert_eq!(look(&mut dns).await.unwrap(), ["10.0.0.1"]);
    server.set_script(|asked| match asked.family {
        RecordType::A => Reply::Code(ResponseCode::ServFail),
        _ => addresses(asked, ["fd00::1"]),
    });
    look(&mut dns).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_for_a_family_delays_only_the_first_lookup() {
    let server = NameServer::start(|asked| match asked.family {
        RecordType::A => addresses(asked, ["10.0.0.1"]),
        _ => Reply::Silence,
    })
    .await;
    let mut dns = DnsLookup::new(Some(server.address), "svc.test.", 80);
    assert_eq!(look(&mut dns).await.unwrap(), ["10.0.0.1"]);
    let before = server.queries().len();
    assert_eq!(look(&mut dns).await.unwrap(), ["10.0.0.1"]);
    assert!(server.queries()[before..].iter().all(|asked| asked.family == RecordType::A));
}

#[tokio::test(start_paused = true)]
async fn a_lookup_is_given_up_in_bounded_time_however_many_names_it_has() {
    let server = NameServer::start(|_| Reply::Silence).await;
    let mut dns = pod(&server, "svc");
    let began = Instant::now();
    let error = look(&mut dns).await.unwrap_err();
    assert!(began.elapsed() <= LOOKUP_TIMEOUT + QUERY_TIMEOUT, "{:?}", began.elapsed());
    assert!(error.contains("svc") && !server.queries().is_empty(), "{error}");
}

/// A cluster without a way out: its own DNS answers, and what is behind that never does.
#[tokio::test(start_paused = true)]
async fn silence_behind_the_clusters_own_names_holds_a_service_that_is_about_to_come_up_for_a_second() {
    let outside = |asked: &Query| !asked.name.ends_with("cluster.local.");
    let server = NameServer::start(move |asked| match outside(asked) {
        true => Reply::Silence,
        false => Reply::Code(ResponseCode::NXDomain),
    })
    .await;
    let mut dns = pod(&server, "svc");
    let began = Instant::now();
    let error = look(&mut dns).await.unwrap_err();
    // Two names, each asked for twice, would take four.
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(error.contains("svc"), "{error}");
    server.set_script(only("svc.default.svc.cluster.local.", "10.0.0.1"));
    assert_eq!(look(&mut dns).await.unwrap(), ["10.0.0.1"]);
}
