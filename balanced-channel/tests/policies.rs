//! Each policy over real sockets: where its calls land.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod backend;

use std::collections::HashMap;

use backend::{Backend, call, endpoints, list, nowhere, ready, until};
use balanced_channel::{Channel, Endpoint, PickFirst, Policy, Updates};

/// A channel with this policy, and what tells it its endpoints.
async fn told(policy: impl Into<Policy>) -> (Channel, Updates) {
    let (resolver, updates) = backend::Told::new();
    let channel = Channel::builder("dns:///told:1").resolver(resolver).policy(policy).build().unwrap();
    (channel, updates.await.unwrap())
}

/// Who answers `count` calls, and how often.
async fn answers(channel: &Channel, count: usize) -> HashMap<String, usize> {
    let mut answers = HashMap::new();
    for _ in 0..count {
        *answers.entry(call(channel, "").await.unwrap()).or_default() += 1;
    }
    answers
}

#[tokio::test]
async fn pick_first_keeps_one_connection_and_falls_over_when_it_is_lost() {
    let mut backends = Backend::some(3);
    let channel =
        Channel::builder(format!("ipv4:{},{}", nowhere(), list(&backends).strip_prefix("ipv4:").unwrap()))
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
    let (channel, updates) = told(PickFirst::default()).await;
    updates.publish(endpoints(&backends));
    ready(&channel, 1).await;
    let first = backends[0].address.to_string();
    updates.publish(endpoints(backends.iter().rev()));
    updates.publish(endpoints(backends.iter().rev()).into_iter().chain([Endpoint::from(nowhere())]));
    assert_eq!(answers(&channel, 10).await, HashMap::from([(first, 10)]));
    updates.publish(endpoints(&backends[1..]));
    let second = backends[1].address;
    until("the other", || (channel.snapshot().subchannels[0].address == second).then_some(())).await;
    ready(&channel, 1).await;
    assert_eq!(answers(&channel, 10).await, HashMap::from([(second.to_string(), 10)]));
}
