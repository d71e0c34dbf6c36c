//! The connections to the HTTP backend: reused under load, closed when idle, distributed over pods.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod harness;

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use harness::{
    InProcess, TEST_TIMEOUT,
    client::{get, request, upstream_failure},
    dns_server::{DnsServer, dns_server},
    gateway,
    http_backend::{Action, Event, HttpBackend, http_backend, http_backend_at, ok},
};
use service::testing::{Exposition, bounded};
use tokio::{sync::oneshot, time::sleep};

#[tokio::test]
async fn connection_is_reused_under_load_and_closed_when_idle() {
    let mut backend = http_backend(|_, _| Action::Respond(ok("{}"))).await;
    let gateway = gateway(|config| config.http_target = backend.url()).await;
    for _ in 0..20 {
        assert_eq!(get(gateway.addr, "/hellohttp").await.status, 200);
    }
    let connected = backend.seen().into_iter().filter(|event| *event == Event::Connected).count();
    // One, unless the machine was so busy that a connection was idle for half a second.
    assert!(connected < 5, "{connected} connections for 20 requests");
    // Without further requests, the gateway closes its idle connection.
    bounded(async { while backend.next().await != Event::Closed {} }).await;
    assert_eq!(get(gateway.addr, "/hellohttp").await.status, 200);
    assert_eq!(backend.next().await, Event::Connected);
}

#[tokio::test]
async fn request_on_a_reused_connection_that_closes_is_sent_again() {
    // Closes the connection without a response after every second request.
    let backend = http_backend(|count, _| match count % 2 {
        0 => Action::Respond(ok("{}")),
        _ => Action::RespondAndClose(Vec::new()),
    })
    .await;
    let gateway = gateway(|config| config.http_target = backend.url()).await;
    for _ in 0..6 {
        let answer = get(gateway.addr, "/hellohttp").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test]
async fn request_on_a_new_connection_is_not_repeated() {
    let mut backend = http_backend(|_, _| Action::RespondAndClose(Vec::new())).await;
    let gateway = gateway(|config| config.http_target = backend.url()).await;
    upstream_failure(&get(gateway.addr, "/hellohttp").await, 502, "invalid_response");
    let requests = backend.seen().into_iter().filter(|event| matches!(event, Event::Request(_))).count();
    assert_eq!(requests, 1);
}

#[tokio::test]
async fn last_good_addresses_stay_in_use_while_dns_fails() {
    let backend = http_backend(|_, _| {
        Action::RespondAndClose(
            b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}".to_vec(),
        )
    })
    .await;
    let server = dns_server(vec![Ipv4Addr::LOCALHOST], 5).await;
    let gateway = gateway(|config| {
        config.http_target = format!("http://http_svc.test:{}/", backend.addr.port()).parse().unwrap();
        config.http_dns_server = Some(server.addr);
    })
    .await;
    assert_eq!(get(gateway.addr, "/hellohttp").await.status, 200);
    server.fail();
    bounded(async {
        while server.queries() < 2 {
            assert_eq!(get(gateway.addr, "/hellohttp").await.status, 200);
        }
    })
    .await;
    let metrics = Exposition::parse(&gateway.instance.metrics.render().unwrap());
    assert!(metrics.value("helloserve_http_dns_failures_total", &[]) >= Some(1.0));
    assert!(metrics.value("helloserve_http_dns_last_success_timestamp_seconds", &[]) > Some(1e9));
}

/// Starts three pods on one port, and a gateway that resolves a name to them.
async fn three_pods(
    addresses: [Ipv4Addr; 3],
    upstream_timeout: Duration,
    action: impl Fn(Ipv4Addr) -> Action + Clone + Send + Sync + 'static,
) -> (InProcess, Vec<HttpBackend>, DnsServer) {
    let mut pods: Vec<HttpBackend> = Vec::new();
    for address in addresses {
        let (port, action) = (pods.first().map_or(0, |pod| pod.addr.port()), action.clone());
        pods.push(http_backend_at((address, port).into(), move |_, _| action(address)).await);
    }
    let server = dns_server(addresses.to_vec(), 5).await;
    let target = format!("http://http-svc.test:{}/hellohttp", pods[0].addr.port());
    let gateway = gateway(|config| {
        config.http_target = target.parse().unwrap();
        config.http_dns_server = Some(server.addr);
        config.upstream_timeout = upstream_timeout;
    })
    .await;
    (gateway, pods, server)
}

fn requests(pod: &mut HttpBackend) -> usize {
    pod.seen().into_iter().filter(|event| matches!(event, Event::Request(_))).count()
}

/// Sends nine requests at once.
async fn wave(gateway: &InProcess) {
    let requests: Vec<_> = (0..9).map(|_| tokio::spawn(get(gateway.addr, "/hellohttp"))).collect();
    for request in requests {
        bounded(request).await.unwrap();
    }
}

/// A frozen pod reads nothing, but its kernel still accepts connections.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn frozen_pod_loses_only_the_requests_in_flight() {
    let addresses = [1, 2, 3].map(|last| Ipv4Addr::new(127, 20, 2, last));
    let frozen = Arc::new(AtomicBool::new(false));
    let gate = frozen.clone();
    let (gateway, mut pods, _server) = three_pods(addresses, Duration::from_secs(1), move |address| {
        if gate.load(SeqCst) && address == addresses[0] {
            return Action::Stall;
        }
        // The delay makes requests overlap, so that the gateway opens connections to each pod.
        let (respond, later) = oneshot::channel();
        tokio::spawn(async move {
            sleep(Duration::from_millis(30)).await;
            let _ = respond.send(());
        });
        Action::RespondLater(ok("{}"), later)
    })
    .await;
    wave(&gateway).await;
    assert_ne!(requests(&mut pods[0]), 0);
    frozen.store(true, SeqCst);
    wave(&gateway).await;
    assert_ne!(requests(&mut pods[0]), 0, "some requests were in flight");
    for _ in 0..5 {
        wave(&gateway).await;
        assert_eq!(requests(&mut pods[0]), 0, "a later request went to the frozen pod");
    }
}

/// A deadline that a caller sets shorter than the gateway's does not count against the pod.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn short_deadline_of_a_caller_avoids_no_pod() {
    let addresses = [1, 2, 3].map(|last| Ipv4Addr::new(127, 20, 3, last));
    let slow = Arc::new(AtomicBool::new(true));
    let gate = slow.clone();
    let closing = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}".to_vec();
    let (gateway, mut pods, _server) =
        three_pods(addresses, TEST_TIMEOUT, move |_| match gate.load(SeqCst) {
            true => Action::Stall,
            false => Action::RespondAndClose(closing.clone()),
        })
        .await;
    let late = request(gateway.addr, "GET", "/hellohttp", "grpc-timeout: 200m\r\n").await;
    upstream_failure(&late, 504, "timeout");
    slow.store(false, SeqCst);
    pods.iter_mut().for_each(|pod| drop(pod.seen()));
    for _ in 0..12 {
        assert_eq!(get(gateway.addr, "/hellohttp").await.status, 200);
    }
    assert_eq!(pods.iter_mut().map(requests).collect::<Vec<_>>(), [4, 4, 4]);
}

/// Three pods behind one name, as with a headless Service or Docker's DNS.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn new_connections_rotate_over_pods_and_skip_a_dead_one() {
    let [first, second, third, dead] = [1, 2, 3, 4].map(|last| Ipv4Addr::new(127, 20, 0, last));
    // `connection: close` makes every request a new connection.
    let closing = |pod: Ipv4Addr| {
        move |_, _: &str| {
            let body = format!("{{\"pod\":\"{pod}\"}}");
            let length = body.len();
            Action::RespondAndClose(
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
                    .into(),
            )
        }
    };
    let mut pods = vec![http_backend_at((first, 0).into(), closing(first)).await];
    let port = pods[0].addr.port();
    for pod in [second, third] {
        pods.push(http_backend_at((pod, port).into(), closing(pod)).await);
    }
    // The time to live is Docker's; it must not pin the gateway to one pod.
    let server = dns_server(vec![third, first, second], 600).await;
    let gateway = gateway(|config| {
        config.http_target = format!("http://http-svc.test:{port}/hellohttp").parse().unwrap();
        config.http_dns_server = Some(server.addr);
    })
    .await;

    let mut answered = BTreeMap::new();
    for _ in 0..12 {
        let answer = get(gateway.addr, "/hellohttp").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        *answered.entry(body["response"]["pod"].to_string()).or_insert(0) += 1;
    }
    assert_eq!(answered.into_values().collect::<Vec<_>>(), [4, 4, 4]);

    server.set(vec![dead, second]);
    bounded(async {
        while server.queries() < 2 {
            get(gateway.addr, "/hellohttp").await;
        }
    })
    .await;
    for _ in 0..4 {
        let answer = get(gateway.addr, "/hellohttp").await;
        assert!(answer.body.contains(&second.to_string()), "{answer:?}");
    }
}

#[tokio::test]
async fn burst_of_first_requests_succeeds() {
    let backend = http_backend(|_, _| Action::Respond(ok("{}"))).await;
    let server = dns_server(vec![Ipv4Addr::LOCALHOST], 5).await;
    let gateway = gateway(|config| {
        config.http_target = format!("http://http-svc.test:{}/", backend.addr.port()).parse().unwrap();
        config.http_dns_server = Some(server.addr);
    })
    .await;
    let requests: Vec<_> = (0..200).map(|_| tokio::spawn(get(gateway.addr, "/hellohttp"))).collect();
    for request in requests {
        let answer = request.await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}
