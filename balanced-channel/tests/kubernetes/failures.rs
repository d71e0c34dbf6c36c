//! The API server fails in every way there is: no call does, no connection is lost, and what changed
//! meanwhile is there as soon as it answers again.

use std::{ops::AsyncFnOnce, time::Duration};

use service::testing::api_server::{Behaviour, WatchAction};
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
        for action in
            [WatchAction::End, WatchAction::Cut, WatchAction::Error(500), WatchAction::End, WatchAction::Cut]
        {
            cluster.api.control_watches(WatchAction::Bookmark);
            let request = cluster.api.wait_for_requests(1, true);
            cluster.api.control_watches(action);
            request.await;
            cluster.api.wait_for_watches(1).await;
            caller.calls(5).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_version_that_is_gone_has_the_slices_listed_again() {
    survives("127.0.42.3", async |cluster, channel, _| {
        // As an event, while it is watched.
        let request = cluster.api.wait_for_requests(1, false);
        cluster.api.control_watches(WatchAction::Gone);
        request.await;
        cluster.api.wait_for_watches(1).await;
        // As an event, when the watch begins: it was away for too long.
        cluster.api.stop().await;
        cluster.api.compact();
        cluster.api.restart().await;
        cluster.api.wait_for_watches(1).await;
        // As the status of the answer.
        let lists = cluster.api.wait_for_requests(2, false);
        cluster.api.set_behaviour(Behaviour::Gone);
        cluster.api.control_watches(WatchAction::End);
        lists.await;
        cluster.api.set_behaviour(Behaviour::Normal);
        cluster.api.wait_for_watches(1).await;
        content(channel).await;
    })
    .await;
}

#[tokio::test]
async fn an_api_server_that_is_stopped_is_missed_by_nobody_and_what_it_knows_then_is_taken() {
    survives("127.0.43.3", async |cluster, channel, caller| {
        cluster.api.stop().await;
        let error = resolver_error(channel, "refused").await;
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
        (Behaviour::ErrorStatus(500, None), "answers 500: etcdserver: no leader"),
        (Behaviour::ErrorStatus(429, Some(1)), "answers 429"),
        (Behaviour::ErrorStatus(503, None), "answers 503"),
        (Behaviour::Forbidden, "may not read EndpointSlices"),
        (Behaviour::WebPage, "answers with something else"),
    ] {
        survives("127.0.44.3", async |cluster, channel, caller| {
            cluster.api.set_behaviour(behaviour);
            cluster.api.control_watches(WatchAction::End);
            resolver_error(channel, words).await;
            caller.calls(20).await;
            cluster.api.set_behaviour(Behaviour::Normal);
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
            cluster.api.control_watches(WatchAction::Send(nonsense));
            caller.calls(20).await;
        })
        .await;
    }
}

#[tokio::test]
async fn an_api_server_that_falls_silent_stops_nothing() {
    survives("127.0.46.3", async |cluster, channel, caller| {
        cluster.api.set_behaviour(Behaviour::Silent);
        // The silence is not noticed yet, and the connections stay in use.
        caller.calls(50).await;
        assert_eq!(channel.snapshot().resolver.error, None);
        cluster.api.set_behaviour(Behaviour::Normal);
    })
    .await;
}

#[tokio::test]
async fn a_slow_answer_is_waited_for() {
    survives("127.0.47.3", async |cluster, channel, caller| {
        cluster.api.set_behaviour(Behaviour::Slow(Duration::from_millis(200)));
        cluster.api.control_watches(WatchAction::Gone);
        caller.calls(20).await;
        cluster.api.wait_for_watches(1).await;
        content(channel).await;
    })
    .await;
}

#[tokio::test]
async fn a_token_that_has_expired_is_read_again() {
    survives("127.0.48.3", async |cluster, channel, caller| {
        cluster.api.require_token("second");
        cluster.api.control_watches(WatchAction::End);
        resolver_error(channel, "does not take this account's token (401 Unauthorized)").await;
        caller.calls(20).await;
        cluster.give_token("second");
        content(channel).await;
        assert_eq!(cluster.api.requests().last().unwrap().token.as_deref(), Some("second"));
    })
    .await;
}

#[tokio::test]
async fn what_changes_while_it_is_away_is_there_when_it_is_back() {
    let (mut cluster, channel) = Cluster::working(&["127.0.49.1", "127.0.49.2", "127.0.49.3"]).await;
    let caller = Caller::start(&channel);
    cluster.api.stop().await;
    resolver_error(&channel, "refused").await;
    cluster.list("svc-a", [1]);
    cluster.list("svc-b", [2]);
    cluster.api.delete_slice("svc-a");
    sleep(Duration::from_millis(20)).await;
    assert_eq!(channel.snapshot().ready(), 3, "nobody has told it");
    cluster.api.restart().await;
    until("the one that is left", || (names(&channel) == ["svc-2"]).then_some(())).await;
    assert_eq!(caller.failures().await, [""; 0]);
}
