//! Each policy over real sockets: the distribution of calls over backends.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod backend;

use std::collections::HashMap;

use backend::{Backend, call, endpoints, list, ready, until, unused_address};
use balanced_channel::{
    Channel, Endpoint, LeastRequest, PickFirst, Policy, RandomSubsetting, RingHash, Updates,
};
use http::HeaderName;
use proto::hello::{Greeting, hello_client::HelloClient};

/// Returns a channel with this policy, and the [`Updates`] for its endpoints.
async fn manual_channel(policy: impl Into<Policy>) -> (Channel, Updates) {
    let (resolver, updates) = backend::ManualResolver::new();
    let channel = Channel::builder("dns:///static:1").resolver(resolver).policy(policy).build().unwrap();
    (channel, updates.await.unwrap())
}

/// Makes `count` calls and counts the responses of each backend.
async fn answers(channel: &Channel, count: usize) -> HashMap<String, usize> {
    let mut answers = HashMap::new();
    for _ in 0..count {
        *answers.entry(call(channel, "").await.unwrap()).or_default() += 1;
    }
    answers
}

#[tokio::test]
async fn pick_first_fails_over_when_its_connection_is_lost() {
    let mut backends = Backend::some(3);
    let channel = Channel::builder(format!(
        "ipv4:{},{}",
        unused_address(),
        list(&backends).strip_prefix("ipv4:").unwrap()
    ))
    .policy(PickFirst::default())
    .build()
    .unwrap();
    for backend in 0..3 {
        ready(&channel, 1).await;
        let address = backends[0].address.to_string();
        assert_eq!(answers(&channel, 30).await, HashMap::from([(address, 30)]), "backend {backend}");
        backends.remove(0);
        if !backends.is_empty() {
            until("the next", || {
                let snapshot = channel.snapshot();
                (snapshot.ready() == 1 && snapshot.subchannels[0].address == backends[0].address)
                    .then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn pick_first_stays_while_its_endpoint_is_listed() {
    let backends = Backend::some(2);
    let (channel, updates) = manual_channel(PickFirst::default()).await;
    updates.publish(endpoints(&backends));
    ready(&channel, 1).await;
    let first = backends[0].address.to_string();
    updates.publish(endpoints(backends.iter().rev()));
    updates.publish(endpoints(backends.iter().rev()).into_iter().chain([Endpoint::from(unused_address())]));
    assert_eq!(answers(&channel, 10).await, HashMap::from([(first, 10)]));
    updates.publish(endpoints(&backends[1..]));
    let second = backends[1].address;
    until("the other", || (channel.snapshot().subchannels[0].address == second).then_some(())).await;
    ready(&channel, 1).await;
    assert_eq!(answers(&channel, 10).await, HashMap::from([(second.to_string(), 10)]));
}

#[tokio::test]
async fn least_request_sends_fewer_calls_to_a_slow_backend() {
    let backends = Backend::some(2);
    let (channel, updates) = manual_channel(LeastRequest::default()).await;
    updates.publish(endpoints(&backends[..1]));
    ready(&channel, 1).await;
    let slow: Vec<_> = (0..4)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move { call(&channel, "60000").await })
        })
        .collect();
    until("four calls", || (backends[0].calls() == 4).then_some(())).await;
    updates.publish(endpoints(&backends));
    ready(&channel, 2).await;
    assert_eq!(answers(&channel, 100).await, HashMap::from([(backends[1].address.to_string(), 100)]));
    slow.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn ring_hash_sends_equal_values_to_the_same_backend() {
    let mut backends = Backend::some(3);
    let key = HeaderName::from_static("x-key");
    let (channel, updates) = manual_channel(RingHash::new(key)).await;
    updates.publish(endpoints(&backends));
    ready(&channel, 3).await;
    let ask = async |key: &str| {
        let mut request = tonic::Request::new(Greeting { name: String::new() });
        request.metadata_mut().insert("x-key", key.parse().unwrap());
        HelloClient::new(channel.clone()).say_hello(request).await.unwrap().into_inner().hostname
    };
    let keys: Vec<_> = (0..60).map(|key| key.to_string()).collect();
    let mut before = HashMap::new();
    for key in &keys {
        before.insert(key.clone(), ask(key).await);
    }
    let gone = backends.remove(0).address.to_string();
    until("two READY", || (channel.snapshot().ready() == 2).then_some(())).await;
    for key in &keys {
        let now = ask(key).await;
        assert!(now != gone && (now == before[key] || before[key] == gone), "{key} moved to {now}");
    }
    assert!(before.values().any(|address| *address == gone));
}

#[tokio::test]
async fn random_subsetting_connects_to_a_stable_subset() {
    let backends = Backend::some(6);
    let (channel, updates) = manual_channel(RandomSubsetting::new(2)).await;
    updates.publish(endpoints(&backends));
    ready(&channel, 2).await;
    let subset = answers(&channel, 20).await;
    assert_eq!(subset.values().collect::<Vec<_>>(), [&10, &10], "in turn");
    updates.publish(endpoints(backends.iter().rev()));
    assert_eq!(answers(&channel, 20).await, subset);

    let (gone, _) = subset.iter().next().unwrap();
    let rest = backends.iter().filter(|backend| backend.address.to_string() != *gone);
    updates.publish(endpoints(rest));
    until("the next one", || {
        let snapshot = channel.snapshot();
        let there = snapshot.subchannels.iter().any(|s| s.address.to_string() == *gone);
        (snapshot.ready() == 2 && !there).then_some(())
    })
    .await;
    let after = answers(&channel, 20).await;
    assert_eq!(after.len(), 2);
    assert!(subset.keys().filter(|address| after.contains_key(*address)).count() == 1, "one was kept");
}
