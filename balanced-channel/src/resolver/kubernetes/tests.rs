//! The times of requests to the API server and of published sets, in paused time: a server of the test's
//! own stands where the network would be.

use api_server::{Says, Server};
use kube::Client;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::resolver::{Resolutions, updates};

mod api_server;
mod lines;
mod logs;

/// A follower of the service `svc`, and the server it follows.
fn follow() -> (Server, Resolutions, AbortOnDropHandle<()>) {
    let server = Server::default();
    let answering = server.clone();
    let open: OpenSession = Box::new(move || {
        let answering = answering.clone();
        let down = answering.0.lock().unwrap().down.pop_front();
        let service = tower::service_fn(move |request| answering.clone().answer(request));
        let client = Client::new(service, "default");
        Box::pin(async move {
            down.map_or(Ok(Session { client, server: "http://test".into() }), |why| Err(ApiError::new(why)))
        })
    });
    let (updates, resolutions) = updates();
    let resolver = KubernetesResolver { service: Service::parse("///svc:grpc").unwrap(), open };
    let task = AbortOnDropHandle::new(tokio::spawn(Box::new(resolver).run(updates)));
    (server, resolutions, task)
}

/// A slice with one pod that is ready.
fn added(version: u32, name: &str, address: &str) -> String {
    format!(
        r#"{{"type":"ADDED","object":{{"kind":"EndpointSlice","metadata":{{"name":"{name}","resourceVersion":"{version}"}},"addressType":"IPv4","endpoints":[{{"addresses":["{address}"]}}],"ports":[{{"name":"grpc","port":80}}]}}}}"#
    ) + "\n"
}

async fn passes(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

fn count(resolutions: &Resolutions) -> Option<usize> {
    resolutions.latest.borrow().endpoints.as_ref().map(|(endpoints, _)| endpoints.len())
}

#[tokio::test(start_paused = true)]
async fn an_event_is_published_in_no_time_and_those_that_came_together_as_one() {
    let (server, mut resolutions, _task) = follow();
    passes(1).await;
    assert_eq!(count(&resolutions), Some(0));
    resolutions.latest.mark_unchanged();
    let at = Instant::now();
    server.say(added(8, "a", "10.0.0.1"));
    resolutions.latest.changed().await.unwrap();
    assert_eq!((count(&resolutions), at.elapsed()), (Some(1), Duration::ZERO));

    // A line in pieces, lines in one piece, and many pieces.
    resolutions.latest.mark_unchanged();
    let two = added(9, "b", "10.0.0.2");
    let (one, rest) = two.split_at(40);
    server.say(one);
    passes(5).await;
    assert!(!resolutions.latest.has_changed().unwrap());
    let at = Instant::now();
    server.say(format!("{rest}{}{}", added(10, "c", "10.0.0.3"), added(11, "d", "10.0.0.4")));
    server.say(added(12, "e", "10.0.0.5"));
    resolutions.latest.changed().await.unwrap();
    assert_eq!((count(&resolutions), at.elapsed()), (Some(5), Duration::ZERO));
    tokio::task::yield_now().await;
    assert!(!resolutions.latest.has_changed().unwrap(), "once for all of them");
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_is_begun_again_when_its_time_is_over_and_nothing_is_listed_again() {
    let (server, _resolutions, _task) = follow();
    passes(3600).await;
    let watches = server.pauses("watch");
    assert!(watches.len() >= 10 && watches.iter().all(|pause| *pause == 300_000), "{watches:?}");
    assert_eq!(server.pauses("list").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up_and_asked_again() {
    for kind in ["list", "watch"] {
        let (server, resolutions, _task) = follow();
        if kind == "list" {
            server.lists(Says::Nothing);
        } else {
            server.watches(Says::Nothing);
        }
        passes(300).await;
        let pauses = server.pauses(kind);
        assert!(pauses.iter().all(|pause| (10_000..=16_010).contains(pause)), "{pauses:?}");
        assert!(pauses.len() > 15, "{pauses:?}");
        let error = resolutions.latest.borrow().error.clone().unwrap().to_string();
        assert_eq!(error, "the Kubernetes API at http://test did not answer within 10s");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_are_answered_with_longer_pauses_and_those_the_server_asks_for() {
    let (server, resolutions, _task) = follow();
    server.lists(Says::ApiStatus(500, None));
    passes(120).await;
    let pauses = server.pauses("list");
    assert!((160..=240).contains(&pauses[0]), "{pauses:?}");
    assert!(pauses.iter().skip(8).all(|pause| (4000..=6010).contains(pause)), "{pauses:?}");

    // The channel may ask, but not more than once a second.
    let before = server.pauses("list").len();
    for _ in 0..500 {
        resolutions.request_refresh.notify_one();
        sleep(Duration::from_millis(20)).await;
    }
    let asked = &server.pauses("list")[before + 1..];
    assert!((8..=10).contains(&asked.len()) && asked.iter().all(|pause| *pause >= 1000), "{asked:?}");

    // And not while the server wants to be left alone.
    server.lists(Says::ApiStatus(429, Some(20)));
    passes(10).await;
    let before = server.pauses("list").len();
    for _ in 0..3000 {
        resolutions.request_refresh.notify_one();
        sleep(Duration::from_millis(20)).await;
    }
    let asked = &server.pauses("list")[before..];
    assert!((2..=3).contains(&asked.len()) && asked.iter().all(|pause| *pause >= 20_000), "{asked:?}");

    server.lists(Says::Well);
    passes(30).await;
    assert_eq!(resolutions.latest.borrow().error, None);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_every_watch_at_once_is_not_hammered() {
    for (says, words) in [(Says::End, "ends every watch at once"), (Says::ApiStatus(410, None), "410 Gone")] {
        let (server, resolutions, _task) = follow();
        server.watches(says);
        passes(60).await;
        let watches = server.asked().len();
        assert!((15..=50).contains(&watches), "{watches}");
        let error = resolutions.latest.borrow().error.clone().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_after_it_worked_begins_again_at_once_from_where_it_was() {
    let (server, resolutions, _task) = follow();
    passes(2).await;
    for version in 8..30 {
        server.say(added(version, "a", "10.0.0.1"));
        server.end();
        let at = Instant::now();
        while server.feed_is_gone() {
            tokio::task::yield_now().await;
        }
        assert_eq!(at.elapsed(), Duration::ZERO);
    }
    assert_eq!(resolutions.latest.borrow().error, None);
    assert_eq!(server.pauses("list").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_watch_is_doubted_when_connections_are_lost_and_it_says_nothing() {
    let (server, resolutions, _task) = follow();
    passes(60).await;
    let ask = async |seconds: u32| {
        for _ in 0..seconds {
            resolutions.request_refresh.notify_one();
            passes(1).await;
        }
    };
    ask(200).await;
    // The first after 10 s of silence, and then less and less often.
    let pauses = server.pauses("watch");
    assert!((4..=6).contains(&pauses.len()), "{pauses:?}");
    assert!(pauses.windows(2).skip(1).all(|pair| pair[1] * 10 > pair[0] * 13), "{pauses:?}");
    assert_eq!(resolutions.latest.borrow().error, None);

    // A word of it is proof.
    let before = server.pauses("watch").len();
    server.say(added(8, "a", "10.0.0.1"));
    ask(6).await;
    assert_eq!(server.pauses("watch").len(), before);

    // The other one cannot be had: then this is known, and what was known stands.
    server.watches(Says::Nothing);
    ask(30).await;
    let error = resolutions.latest.borrow().error.clone().unwrap().to_string();
    assert!(error.contains("did not answer within 10s"), "{error}");
    assert_eq!(count(&resolutions), Some(1));
}
