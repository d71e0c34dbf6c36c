//! The DNS server, queried by a real resolver over real sockets.

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]
use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::{op::ResponseCode, rr::RecordType},
};
use kubetester::dns::{DnsServer, ResponseMode};

async fn server() -> DnsServer {
    DnsServer::start(Ipv4Addr::LOCALHOST.into()).await.unwrap()
}

/// Returns a resolver without cache that queries `server` only, over UDP first if `udp`, else over TCP only.
fn resolver(server: &DnsServer, udp: bool) -> TokioResolver {
    let protocols = if udp {
        vec![ConnectionConfig::udp(), ConnectionConfig::tcp()]
    } else {
        vec![ConnectionConfig::tcp()]
    };
    let connections = protocols.into_iter().map(|mut connection| {
        connection.port = server.address().port();
        connection
    });
    let name_server = NameServerConfig::new(server.address().ip(), true, connections.collect());
    let config = ResolverConfig::from_parts(None, vec![], vec![name_server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.timeout = Duration::from_millis(200);
    options.attempts = 1;
    options.case_randomization = true;
    builder.build().unwrap()
}

async fn addresses(resolver: &TokioResolver, name: &str) -> Vec<IpAddr> {
    let lookup = resolver.lookup(name, RecordType::A).await.unwrap();
    lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect()
}

fn pods(count: u8) -> Vec<IpAddr> {
    (1..=count).map(|n| Ipv4Addr::new(10, 1, 2, n).into()).collect()
}

fn code(error: &NetError) -> Option<ResponseCode> {
    match error {
        NetError::Dns(hickory_resolver::net::DnsError::NoRecordsFound(none)) => Some(none.response_code),
        NetError::Dns(hickory_resolver::net::DnsError::ResponseCode(code)) => Some(*code),
        _ => None,
    }
}

#[tokio::test]
async fn changes_are_visible_over_udp_and_tcp() {
    let server = server().await;
    server.zone().set("grpc-svc", pods(3));
    for udp in [true, false] {
        let resolver = resolver(&server, udp);
        let first: Vec<_> = addresses(&resolver, "grpc-svc.").await;
        let second: Vec<_> = addresses(&resolver, "grpc-svc.").await;
        assert_ne!(first[0], second[0], "the order turns");
        assert_eq!(HashSet::<IpAddr>::from_iter(first), pods(3).into_iter().collect());
    }
    server.zone().set("grpc-svc", pods(1));
    assert_eq!(addresses(&resolver(&server, true), "grpc-svc.").await, pods(1));
    assert_eq!(server.zone().handed_out("grpc-svc", pods(1)[0]), 5);
}

#[tokio::test]
async fn hundreds_of_addresses_are_answered_over_tcp() {
    let server = server().await;
    server.zone().set("big", pods(250));
    let all = addresses(&resolver(&server, true), "big.").await;
    assert_eq!(HashSet::<IpAddr>::from_iter(all).len(), 250);
    assert_eq!(server.zone().questions(), 2, "once over UDP, truncated, then over TCP");
}

#[tokio::test]
async fn negative_answers_have_a_code_and_a_ttl() {
    let server = server().await;
    server.zone().set("v4-only", pods(1));
    server.zone().set_ttl(Duration::from_secs(7));
    let resolver = resolver(&server, true);
    for (name, record, expected) in [
        ("absent.", RecordType::A, ResponseCode::NXDomain),
        ("v4-only.", RecordType::AAAA, ResponseCode::NoError),
        ("v4-only.", RecordType::TXT, ResponseCode::NoError),
    ] {
        let error = resolver.lookup(name, record).await.unwrap_err();
        assert_eq!(code(&error), Some(expected), "{name} {record}: {error}");
        let NetError::Dns(hickory_resolver::net::DnsError::NoRecordsFound(none)) = error else {
            panic!("{error}")
        };
        assert_eq!(none.negative_ttl, Some(7), "{name} {record}");
    }
    let lookup = resolver.lookup("v4-only.", RecordType::A).await.unwrap();
    assert_eq!(lookup.answers()[0].ttl, 7);
}

#[tokio::test]
async fn outage_is_servfail_or_silence_and_ends() {
    let server = server().await;
    server.zone().set("grpc-svc", pods(3));
    let resolver = resolver(&server, true);

    server.zone().set_response_mode(ResponseMode::Fail);
    let error = resolver.lookup("grpc-svc.", RecordType::A).await.unwrap_err();
    assert_eq!(code(&error), Some(ResponseCode::ServFail), "{error}");

    server.zone().set_response_mode(ResponseMode::Silent);
    let error = resolver.lookup("grpc-svc.", RecordType::A).await.unwrap_err();
    assert!(matches!(error, NetError::Timeout), "{error:?}");

    server.zone().set_response_mode(ResponseMode::Answer);
    assert_eq!(addresses(&resolver, "grpc-svc.").await.len(), 3);
}
