//! The times at which the resolver sends requests to the API server and publishes endpoints, in paused time. A scripted
//! server takes the place of the network.

use std::time::Duration;

use api_server::{ApiServer, Behaviour};
use kube::Client;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::resolver::{Resolutions, updates};

mod api_server;
mod lines;
mod logs;

/// Starts a resolver for the Service `svc` and its API server.
fn start() -> (ApiServer, Resolutions, AbortOnDropHandle<()>) {
    let server = ApiServer::default();
    let api = server.clone();
    let open: OpenSession = Box::new(move || {
        let api = api.clone();
        let error = api.0.lock().unwrap().session_errors.pop_front();
        let service = tower::service_fn(move |request| api.clone().respond(request));
        let client = Client::new(service, "default");
        Box::pin(async move {
            let session = Session { client, server: "http://test".into() };
            error.map_or(Ok(session), |error| Err(ApiError::new(error)))
        })
    });
    let (updates, resolutions) = updates();
    let resolver = KubernetesResolver { service: Service::parse("///svc:grpc").unwrap(), open };
    let task = AbortOnDropHandle::new(tokio::spawn(Box::new(resolver).run(updates)));
    (server, resolutions, task)
}

/// Returns the event of a new slice with one ready pod.
fn added(version: u32, name: &str, address: &str) -> String {
    format!(
        r#"{{"type":"ADDED","object":{{"kind":"EndpointSlice","metadata":{{"name":"{name}","resourceVersion":"{version}"}},"addressType":"IPv4","endpoints":[{{"addresses":["{address}"]}}],"ports":[{{"name":"grpc","port":80}}]}}}}"#
    ) + "\n"
}

async fn advance(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

/// Returns the number of published endpoints.
fn count(resolutions: &Resolutions) -> Option<usize> {
    resolutions.latest.borrow().endpoints.as_ref().map(|(endpoints, _)| endpoints.len())
}

#[tokio::test(start_paused = true)]
async fn events_of_one_chunk_are_published_at_once_and_together() {
    let (server, mut resolutions, _task) = start();
    advance(1).await;
    assert_eq!(count(&resolutions), Some(0));
    resolutions.latest.mark_unchanged();
    let at = Instant::now();
    server.send(added(8, "a", "10.0.0.1"));
    resolutions.latest.changed().await.unwrap();
    assert_eq!((count(&resolutions), at.elapsed()), (Some(1), Duration::ZERO));

    // One line in two chunks, several lines in one chunk, and two chunks without a pause.
    resolutions.latest.mark_unchanged();
    let two = added(9, "b", "10.0.0.2");
    let (first, rest) = two.split_at(40);
    server.send(first);
    advance(5).await;
    assert!(!resolutions.latest.has_changed().unwrap());
    let at = Instant::now();
    server.send(format!("{rest}{}{}", added(10, "c", "10.0.0.3"), added(11, "d", "10.0.0.4")));
    server.send(added(12, "e", "10.0.0.5"));
    resolutions.latest.changed().await.unwrap();
    assert_eq!((count(&resolutions), at.elapsed()), (Some(5), Duration::ZERO));
    tokio::task::yield_now().await;
    assert!(!resolutions.latest.has_changed().unwrap(), "once for all of them");
}

#[tokio::test(start_paused = true)]
async fn watch_without_events_is_started_again_after_its_timeout_without_a_list() {
    let (server, _resolutions, _task) = start();
    advance(3600).await;
    let watches = server.pauses("watch");
    assert!(watches.len() >= 10 && watches.iter().all(|pause| *pause == 300_000), "{watches:?}");
    assert_eq!(server.pauses("list").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn request_without_a_response_times_out_and_is_sent_again() {
    for kind in ["list", "watch"] {
        let (server, resolutions, _task) = start();
        if kind == "list" {
            server.set_lists(Behaviour::NoResponse);
        } else {
            server.set_watches(Behaviour::NoResponse);
        }
        advance(300).await;
        let pauses = server.pauses(kind);
        assert!(pauses.iter().all(|pause| (10_000..=16_010).contains(pause)), "{pauses:?}");
        assert!(pauses.len() > 15, "{pauses:?}");
        let error = resolutions.latest.borrow().error.clone().unwrap().to_string();
        assert_eq!(error, "the Kubernetes API at http://test did not answer within 10s");
    }
}

#[tokio::test(start_paused = true)]
async fn error_statuses_back_off_and_retry_after_is_obeyed() {
    let (server, resolutions, _task) = start();
    server.set_lists(Behaviour::Status(500, None));
    advance(120).await;
    let pauses = server.pauses("list");
    assert!((160..=240).contains(&pauses[0]), "{pauses:?}");
    assert!(pauses.iter().skip(8).all(|pause| (4000..=6010).contains(pause)), "{pauses:?}");

    // The channel's requests for a refresh cause at most one attempt a second.
    let before = server.pauses("list").len();
    for _ in 0..500 {
        resolutions.request_refresh.notify_one();
        sleep(Duration::from_millis(20)).await;
    }
    let pauses = &server.pauses("list")[before + 1..];
    assert!((8..=10).contains(&pauses.len()) && pauses.iter().all(|pause| *pause >= 1000), "{pauses:?}");

    // They cause no attempt before the time in `retry-after`.
    server.set_lists(Behaviour::Status(429, Some(20)));
    advance(10).await;
    let before = server.pauses("list").len();
    for _ in 0..3000 {
        resolutions.request_refresh.notify_one();
        sleep(Duration::from_millis(20)).await;
    }
    let pauses = &server.pauses("list")[before..];
    assert!((2..=3).contains(&pauses.len()) && pauses.iter().all(|pause| *pause >= 20_000), "{pauses:?}");

    server.set_lists(Behaviour::Normal);
    advance(30).await;
    assert_eq!(resolutions.latest.borrow().error, None);
}

#[tokio::test(start_paused = true)]
async fn watches_that_end_at_once_back_off() {
    for (behaviour, words) in
        [(Behaviour::End, "ends every watch at once"), (Behaviour::Status(410, None), "410 Gone")]
    {
        let (server, resolutions, _task) = start();
        server.set_watches(behaviour);
        advance(60).await;
        let requests = server.requests().len();
        assert!((15..=50).contains(&requests), "{requests}");
        let error = resolutions.latest.borrow().error.clone().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn watch_that_ends_after_an_event_is_started_again_at_once() {
    let (server, resolutions, _task) = start();
    advance(2).await;
    for version in 8..30 {
        server.send(added(version, "a", "10.0.0.1"));
        server.end_watch();
        let at = Instant::now();
        while !server.has_open_watch() {
            tokio::task::yield_now().await;
        }
        assert_eq!(at.elapsed(), Duration::ZERO);
    }
    assert_eq!(resolutions.latest.borrow().error, None);
    assert_eq!(server.pauses("list").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn silent_watch_is_checked_when_connections_are_lost() {
    let (server, resolutions, _task) = start();
    advance(60).await;
    let request_refreshes = async |seconds: u32| {
        for _ in 0..seconds {
            resolutions.request_refresh.notify_one();
            advance(1).await;
        }
    };
    request_refreshes(200).await;
    // The first check is after 10 s without an event; the pauses before further checks grow.
    let pauses = server.pauses("watch");
    assert!((4..=6).contains(&pauses.len()), "{pauses:?}");
    assert!(pauses.windows(2).skip(1).all(|pair| pair[1] * 10 > pair[0] * 13), "{pauses:?}");
    assert_eq!(resolutions.latest.borrow().error, None);

    // An event proves that the watch is alive.
    let before = server.pauses("watch").len();
    server.send(added(8, "a", "10.0.0.1"));
    request_refreshes(6).await;
    assert_eq!(server.pauses("watch").len(), before);

    // If the second watch fails, the error is published and the endpoints stay.
    server.set_watches(Behaviour::NoResponse);
    request_refreshes(30).await;
    let error = resolutions.latest.borrow().error.clone().unwrap().to_string();
    assert!(error.contains("did not answer within 10s"), "{error}");
    assert_eq!(count(&resolutions), Some(1));
}
