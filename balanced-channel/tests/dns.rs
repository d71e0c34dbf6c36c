//! The channel with the DNS answers of real clusters, valid and invalid.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod backend;
mod name_server;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use backend::{Backend, call, fails, ready, until};
use balanced_channel::{Channel, Refresh};
use hickory_server::proto::{op::ResponseCode, rr::RecordType};
use name_server::{NameServer, Query, Reply, addresses, alias, record};
use tonic::Code;

const QUICK: Refresh = Refresh { min: Duration::from_millis(20), max: Duration::from_millis(40) };

/// Returns a channel to `svc.test.` that queries `server` often.
fn channel(server: &NameServer, port: u16) -> Channel {
    Channel::builder(format!("dns://{}/svc.test.:{port}", server.address)).refresh(QUICK).build().unwrap()
}

/// Starts two backends at one port, a DNS server that lists them, and a channel that is connected to both.
async fn working(ips: [&'static str; 2]) -> (Vec<Backend>, NameServer, Channel) {
    let backends = Backend::at_one_port(&ips);
    let server = NameServer::start(move |query| addresses(query, ips)).await;
    let channel = channel(&server, backends[0].address.port());
    ready(&channel, 2).await;
    (backends, server, channel)
}

/// Returns the addresses of all subchannels, in any state.
fn pool(channel: &Channel) -> Vec<SocketAddr> {
    channel.snapshot().subchannels.iter().map(|subchannel| subchannel.address).collect()
}

/// Fails lookups with `bad` for a while. Asserts that the subchannels stay, and that later changes are applied.
async fn survives(ips: [&'static str; 2], bad: impl FnMut(&Query) -> Reply + Send + 'static) {
    let (_backends, server, channel) = working(ips).await;
    let connected: Vec<_> = channel.snapshot().subchannels.iter().map(|s| s.since).collect();
    server.set_script(bad);
    let error = until("the failure", || channel.snapshot().resolver.error).await;
    assert!(error.contains("svc.test"), "{error}");
    server.next_queries(3).await;
    for _ in 0..20 {
        call(&channel, "").await.unwrap();
    }
    let snapshot = channel.snapshot();
    assert_eq!((snapshot.ready(), snapshot.resolver.endpoints), (2, Some(2)), "{snapshot:?}");
    assert!(snapshot.subchannels.iter().zip(connected).all(|(now, before)| now.since > before), "the same");

    server.set_script(move |query| addresses(query, ips));
    until("the recovery", || channel.snapshot().resolver.error.is_none().then_some(())).await;
    assert_eq!(channel.snapshot().ready(), 2);
}

#[tokio::test]
async fn name_with_an_underscore_is_looked_up() {
    let backend = Backend::start();
    let port = backend.address.port();
    let server = NameServer::start(|query| addresses(query, ["127.0.0.1", "127.0.0.1"])).await;
    let target = format!("dns://{}/my_svc.test.:{port}", server.address);
    let channel = Channel::builder(target).refresh(QUICK).build().unwrap();
    ready(&channel, 1).await;
    call(&channel, "").await.unwrap();
}

#[tokio::test]
async fn failing_dns_server_closes_no_connection() {
    for code in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::FormErr, ResponseCode::NotImp] {
        survives(["127.0.1.1", "127.0.1.2"], move |_| Reply::Code(code)).await;
    }
}

#[tokio::test]
async fn silent_dns_server_closes_no_connection() {
    survives(["127.0.2.1", "127.0.2.2"], |_| Reply::Silence).await;
}

#[tokio::test]
async fn malformed_dns_answer_closes_no_connection() {
    let mut byte = 0_u8;
    survives(["127.0.3.1", "127.0.3.2"], move |_| {
        byte = byte.wrapping_add(41);
        Reply::Garbage(vec![byte; usize::from(byte)])
    })
    .await;
}

#[tokio::test]
async fn answer_with_a_wrong_id_is_ignored() {
    survives(["127.0.4.1", "127.0.4.2"], |_| Reply::WrongId).await;
}

#[tokio::test]
async fn empty_answer_removes_only_endpoints_that_are_not_connected() {
    for code in [ResponseCode::NoError, ResponseCode::NXDomain] {
        let (mut backends, server, channel) = working(["127.0.5.1", "127.0.5.2"]).await;
        server.set_script(move |_| Reply::Code(code));
        until("the empty answer", || (channel.snapshot().resolver.endpoints == Some(0)).then_some(())).await;
        server.next_queries(3).await;
        for _ in 0..20 {
            call(&channel, "").await.unwrap();
        }
        assert_eq!(channel.snapshot().ready(), 2);

        let last = backends.remove(0).address;
        drop(backends);
        until("the empty pool", || pool(&channel).is_empty().then_some(())).await;
        let (status, message) = fails(&channel, "").await;
        assert!(status == Code::Unavailable && message.contains("no addresses"), "{message}");

        let _backend = Backend::on(last);
        server.set_script(|query| addresses(query, ["127.0.5.1"]));
        ready(&channel, 1).await;
        call(&channel, "").await.unwrap();
    }
}

#[tokio::test]
async fn answer_with_150_addresses_is_read_over_tcp() {
    let all: Vec<_> = (1..=150).map(|n| format!("127.0.6.{n}")).collect();
    let server = NameServer::start(move |query| addresses(query, &all)).await;
    let channel = channel(&server, backend::unused_address().port());
    until("150 endpoints", || (pool(&channel).len() == 150).then_some(())).await;
    let queries = server.queries();
    assert!(queries.iter().any(|query| !query.tcp) && queries.iter().any(|query| query.tcp));
}

#[tokio::test]
async fn cname_chain_is_followed_within_and_across_answers() {
    for whole in [true, false] {
        let backends = Backend::at_one_port(&["127.0.7.1"]);
        let server = NameServer::start(move |query| {
            let chain = [alias("svc.test.", "svc.blue.test."), alias("svc.blue.test.", "pod.blue.test.")];
            let mut records: Vec<_> =
                chain.into_iter().skip_while(|link| link.name.to_string() != query.name).collect();
            if !whole {
                records.truncate(1);
            }
            if query.family == RecordType::A && (whole || query.name == "pod.blue.test.") {
                records.push(record(&"pod.blue.test.".parse().unwrap(), "127.0.7.1", 30));
            }
            Reply::Records(records)
        })
        .await;
        let channel = channel(&server, backends[0].address.port());
        ready(&channel, 1).await;
        assert_eq!(call(&channel, "").await.unwrap(), backends[0].address.to_string());
    }
}

#[tokio::test]
async fn dual_stack_pod_is_one_endpoint() {
    let server =
        NameServer::start(|query| addresses(query, ["127.0.8.1", "127.0.8.2", "fd00::8:1", "fd00::8:2"]))
            .await;
    let backends = Backend::at_one_port(&["127.0.8.1", "127.0.8.2"]);
    let channel = channel(&server, backends[0].address.port());
    ready(&channel, 2).await;
    server.next_queries(20).await;
    let pool: Vec<_> = pool(&channel).iter().map(|address| address.ip().to_string()).collect();
    assert_eq!(pool, ["127.0.8.1", "127.0.8.2"]);
}

#[tokio::test]
async fn reordered_and_duplicate_records_change_no_endpoint() {
    let ips = ["127.0.9.1", "127.0.9.2", "127.0.9.3"];
    let backends = Backend::at_one_port(&ips);
    let mut turn = 0;
    let server = NameServer::start(move |query| {
        turn += 1;
        let mut shuffled = [ips, ips].concat();
        shuffled.rotate_left(turn % 5);
        addresses(query, shuffled)
    })
    .await;
    let channel = channel(&server, backends[0].address.port());
    ready(&channel, 3).await;
    let ages = |channel: &Channel| -> BTreeMap<_, _> {
        channel.snapshot().subchannels.iter().map(|s| (s.address, s.since)).collect()
    };
    let mut before = ages(&channel);
    for _ in 0..10 {
        server.next_queries(3).await;
        let now = ages(&channel);
        assert!(now.len() == 3 && now.iter().all(|(address, age)| *age > before[address]), "{now:?}");
        before = now;
    }
}

#[tokio::test]
async fn ttl_out_of_bounds_is_clamped() {
    for ttl in [0, u32::MAX] {
        let server = NameServer::start(move |query| match query.family {
            RecordType::A => Reply::Records(vec![record(&query.name.parse().unwrap(), "127.0.10.1", ttl)]),
            _ => Reply::Records(Vec::new()),
        })
        .await;
        let _channel = channel(&server, backend::unused_address().port());
        // The first lookup queries both families, and an unreachable endpoint requests a refresh continuously.
        let queries = server.next_queries(12).await;
        let took = queries[11].at - queries[2].at;
        assert!(took >= QUICK.min * 8, "9 lookups after another in {took:?}");
    }
}
