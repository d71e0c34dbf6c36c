//! The API server fails in every way there is: no call does, no connection is lost, and what changed
//! meanwhile is there as soon as it answers again.

use std::{ops::AsyncFnOnce, time::Duration};

use service::testing::api_server::{Behaviour, Order};
use tokio::time::sleep;

use super::*;

/// Two backends are called all the time. The API server fails as `fail` has it, which returns when it is
/// well again; then a third backend must be found, over the same connections as before.
async fn survives(third: &str, fail: impl AsyncFnOnce(&mut Cluster, &Channel, &Caller)) {
    let net = &third[..third.rfind('.').unwrap()];
    let (mut cluster, channel) = Cluster::working(&[&format!("{net}.1"), &format!("{net}.2")]).await;
    let before = channel.snapshot();
    let caller = Caller::start(&channel);
    caller.calls(5).await;
    fail(&mut cluster, &channel, &caller).await;
    let new = Backend::on(format!("{third}:{}", cluster.port()).parse().unwrap());
    cluster.backends.push(new);
    cluster.list("svc-b", [2]);
    ready(&channel, 3).await;
    let after = content(&channel).await;
    for (before, after) in before.subchannels.iter().zip(&after.subchannels) {
        assert_eq!(before.address, after.address);
        assert!(after.since > before.since, "it has stayed connected: {after:?}");
    }
    caller.calls(20).await;
    assert_eq!(caller.failures().await, [""; 0]);
}

#[tokio::test]
async fn a_watch_that_ends_begins_again_where_it_was() {
    survives("127.0.41.3", async |cluster, _, caller| {
        for order in [Order::End, Order::Cut, Order::Error(500), Order::End, Order::Cut] {
            cluster.api.order(Order::Bookmark);
            let asked = cluster.api.asked_again(1, true);
            cluster.api.order(order);
            asked.await;
            cluster.api.watched(1).await;
            caller.calls(5).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_version_that_is_gone_has_the_slices_listed_again() {
    survives("127.0.42.3", async |cluster, channel, _| {
        // As an event, while it is watched.
        let asked = cluster.api.asked_again(1, false);
        cluster.api.order(Order::Gone);
        asked.await;
        cluster.api.watched(1).await;
        // As an event, when the watch begins: it was away for too long.
        cluster.api.stop().await;
        cluster.api.compact();
        cluster.api.restart().await;
        cluster.api.watched(1).await;
        // As the status of the answer.
        let lists = cluster.api.asked_again(2, false);
        cluster.api.behave(Behaviour::Gone);
        cluster.api.order(Order::End);
        lists.await;
        cluster.api.behave(Behaviour::Well);
        cluster.api.watched(1).await;
        content(channel).await;
    })
    .await;
}

#[tokio::test]
async fn an_api_server_that_is_stopped_is_missed_by_nobody_and_what_it_knows_then_is_taken() {
    survives("127.0.43.3", async |cluster, channel, caller| {
        cluster.api.stop().await;
        let error = complaint(channel, "refused").await;
        let expected = format!("the call to the Kubernetes API at http://{} failed: ", cluster.api.address);
        assert!(error.starts_with(&expected), "{error}");
        caller.calls(50).await;
        // It comes back, and forgets who asked it.
        cluster.api.restart().await;
        content(channel).await;
    })
    .await;
}

#[tokio::test]
async fn refusals_and_nonsense_change_nothing() {
    for (behaviour, words) in [
        (Behaviour::Refused(500, None), "answers 500: etcdserver: no leader"),
        (Behaviour::Refused(429, Some(1)), "answers 429"),
        (Behaviour::Refused(503, None), "answers 503"),
        (Behaviour::Forbidden, "may not read EndpointSlices"),
        (Behaviour::WebPage, "answers with something else"),
    ] {
        survives("127.0.44.3", async |cluster, channel, caller| {
            cluster.api.behave(behaviour);
            cluster.api.order(Order::End);
            complaint(channel, words).await;
            caller.calls(20).await;
            cluster.api.behave(Behaviour::Well);
            content(channel).await;
        })
        .await;
    }
    for nonsense in [
        "nonsense\n",
        "{\"type\":\"SHOUTED\",\"object\":{}}\n",
        "{\"type\":\"ADDED\",\"object\":{}}\n",
        "\n\n",
    ] {
        survives("127.0.45.3", async |cluster, _, caller| {
            cluster.api.order(Order::Say(nonsense));
            caller.calls(20).await;
        })
        .await;
    }
}

#[tokio::test]
async fn an_api_server_that_falls_silent_stops_nothing() {
    survives("127.0.46.3", async |cluster, channel, caller| {
        cluster.api.behave(Behaviour::Silent);
        // Nobody can know; the connections are there.
        caller.calls(50).await;
        assert_eq!(channel.snapshot().resolver.error, None);
        cluster.api.behave(Behaviour::Well);
    })
    .await;
}

#[tokio::test]
async fn a_slow_answer_is_waited_for() {
    survives("127.0.47.3", async |cluster, channel, caller| {
        cluster.api.behave(Behaviour::Slow(Duration::from_millis(200)));
        cluster.api.order(Order::Gone);
        caller.calls(20).await;
        cluster.api.watched(1).await;
        content(channel).await;
    })
    .await;
}

#[tokio::test]
async fn a_token_that_has_expired_is_read_again() {
    survives("127.0.48.3", async |cluster, channel, caller| {
        cluster.api.take_token("second");
        cluster.api.order(Order::End);
        complaint(channel, "does not take this account's token (401 Unauthorized)").await;
        caller.calls(20).await;
        cluster.give_token("second");
        content(channel).await;
        assert_eq!(cluster.api.asked().last().unwrap().token.as_deref(), Some("second"));
    })
    .await;
}

#[tokio::test]
async fn what_changes_while_it_is_away_is_there_when_it_is_back() {
    let (mut cluster, channel) = Cluster::working(&["127.0.49.1", "127.0.49.2", "127.0.49.3"]).await;
    let caller = Caller::start(&channel);
    cluster.api.stop().await;
    complaint(&channel, "refused").await;
    cluster.list("svc-a", [1]);
    cluster.list("svc-b", [2]);
    cluster.api.delete_slice("svc-a");
    sleep(Duration::from_millis(20)).await;
    assert_eq!(channel.snapshot().ready(), 3, "nobody has told it");
    cluster.api.restart().await;
    until("the one that is left", || (names(&channel) == ["svc-2"]).then_some(())).await;
    assert_eq!(caller.failures().await, [""; 0]);
}
