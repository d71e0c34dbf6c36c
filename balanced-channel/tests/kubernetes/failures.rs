//! Failures of the API server: no call fails, no connection is lost, and changes are applied as soon as the API server
//! responds again.

use std::{ops::AsyncFnOnce, time::Duration};

use service::testing::api_server::{Behaviour, WatchAction};
use tokio::time::sleep;

use super::*;

/// Calls two backends continuously while `fail` makes the API server fail and recover. Asserts that no call fails, that
/// a third backend is found afterwards, and that the connections stay.
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
async fn watch_that_ends_is_restarted_from_its_version() {
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
async fn expired_version_causes_a_new_list() {
    survives("127.0.42.3", async |cluster, channel, _| {
        // As an event during a watch.
        let request = cluster.api.wait_for_requests(1, false);
        cluster.api.control_watches(WatchAction::Gone);
        request.await;
        cluster.api.wait_for_watches(1).await;
        // As an event at the start of a watch, after a long outage.
        cluster.api.stop().await;
        cluster.api.compact();
        cluster.api.restart().await;
        cluster.api.wait_for_watches(1).await;
        // As the HTTP status of the response.
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
async fn stopped_api_server_fails_no_call_and_later_changes_are_applied() {
    survives("127.0.43.3", async |cluster, channel, caller| {
        cluster.api.stop().await;
        let error = resolver_error(channel, "refused").await;
        let expected = format!("the call to the Kubernetes API at http://{} failed: ", cluster.api.address);
        assert!(error.starts_with(&expected), "{error}");
        caller.calls(50).await;
        // The API server restarts, without its former connections.
        cluster.api.restart().await;
        content(channel).await;
    })
    .await;
}

#[tokio::test]
async fn error_responses_change_no_endpoint() {
    for (behaviour, words) in [
        (Behaviour::ErrorStatus(500, None), "answers 500: etcdserver: no leader"),
        (Behaviour::ErrorStatus(429, Some(1)), "answers 429"),
        (Behaviour::ErrorStatus(503, None), "answers 503"),
        (Behaviour::Forbidden, "may not read EndpointSlices"),
        (Behaviour::WebPage, " is invalid: "),
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
async fn silent_api_server_fails_no_call() {
    survives("127.0.46.3", async |cluster, channel, caller| {
        cluster.api.set_behaviour(Behaviour::Silent);
        // The silence is not detected yet, and the connections stay in use.
        caller.calls(50).await;
        assert_eq!(channel.snapshot().resolver.error, None);
        cluster.api.set_behaviour(Behaviour::Normal);
    })
    .await;
}

#[tokio::test]
async fn slow_response_is_accepted() {
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
async fn expired_token_is_read_again() {
    survives("127.0.48.3", async |cluster, channel, caller| {
        cluster.api.require_token("second");
        cluster.api.control_watches(WatchAction::End);
        resolver_error(channel, "rejects this account's token (401 Unauthorized)").await;
        caller.calls(20).await;
        cluster.give_token("second");
        content(channel).await;
        assert_eq!(cluster.api.requests().last().unwrap().token.as_deref(), Some("second"));
    })
    .await;
}

#[tokio::test]
async fn changes_during_an_outage_are_applied_after_it() {
    let (mut cluster, channel) = Cluster::working(&["127.0.49.1", "127.0.49.2", "127.0.49.3"]).await;
    let caller = Caller::start(&channel);
    cluster.api.stop().await;
    resolver_error(&channel, "refused").await;
    cluster.list("svc-a", [1]);
    cluster.list("svc-b", [2]);
    cluster.api.delete_slice("svc-a");
    sleep(Duration::from_millis(20)).await;
    assert_eq!(channel.snapshot().ready(), 3, "the channel has not seen the change");
    cluster.api.restart().await;
    until("the one that is left", || (names(&channel) == ["svc-2"]).then_some(())).await;
    assert_eq!(caller.failures().await, [""; 0]);
}
