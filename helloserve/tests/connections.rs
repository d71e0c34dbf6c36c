//! How the gateway uses connections to the HTTP backend: kept under load, dropped when idle, spread over pods.

mod stage;

use std::{collections::BTreeMap, net::Ipv4Addr};

use service::testing::bounded;
use stage::{
    client::{get, problem},
    dns_server::dns_server,
    gateway,
    http_backend::{Deed, Event, http_backend, http_backend_at, ok},
};

#[tokio::test]
async fn connections_are_kept_under_load_and_dropped_when_idle() {
    let mut backend = http_backend(|_, _| Deed::Answer(ok("{}"))).await;
    let gateway = gateway(|config| config.http_target = backend.url()).await;
    for _ in 0..20 {
        assert_eq!(get(gateway.addr, "/hellohttp").await.status, 200);
    }
    let connected = backend.seen().into_iter().filter(|event| *event == Event::Connected).count();
    // One, unless this machine stood still for half a second.
    assert!(connected < 5, "{connected} connections for 20 requests");
    // Nothing is asked any more; the gateway itself closes what it kept.
    bounded(async { while backend.next().await != Event::Closed {} }).await;
    assert_eq!(get(gateway.addr, "/hellohttp").await.status, 200);
    assert_eq!(backend.next().await, Event::Connected);
}

#[tokio::test]
async fn a_connection_that_closes_as_it_is_used_costs_no_request() {
    // Every second request is read, and its connection closed without an answer.
    let backend = http_backend(|count, _| match count % 2 {
        0 => Deed::Answer(ok("{}")),
        _ => Deed::AnswerAndClose(Vec::new()),
    })
    .await;
    let gateway = gateway(|config| config.http_target = backend.url()).await;
    for _ in 0..6 {
        let answer = get(gateway.addr, "/hellohttp").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test]
async fn a_backend_that_dies_of_a_request_meets_it_twice_at_most() {
    let mut backend = http_backend(|_, _| Deed::AnswerAndClose(Vec::new())).await;
    let gateway = gateway(|config| config.http_target = backend.url()).await;
    let detail = problem(&get(gateway.addr, "/hellohttp").await, 502);
    assert!(detail.contains("broke off the exchange"), "{detail}");
    let requests = backend.seen().into_iter().filter(|event| matches!(event, Event::Request(_))).count();
    assert_eq!(requests, 2);
}

/// Three pods behind one name, as a headless service or Docker's DNS has them.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn new_connections_go_to_every_pod_in_turn_and_past_a_dead_one() {
    let [first, second, third, dead] = [1, 2, 3, 4].map(|last| Ipv4Addr::new(127, 20, 0, last));
    // `connection: close` makes every request a new connection.
    let closing = |pod: Ipv4Addr| {
        move |_, _: &str| {
            let body = format!("{{\"pod\":\"{pod}\"}}");
            let length = body.len();
            Deed::AnswerAndClose(
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
    // A time to live as long as Docker's: it must not pin the gateway to one pod.
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
        while server.asked() < 2 {
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
async fn a_burst_of_first_requests_finds_its_way() {
    let backend = http_backend(|_, _| Deed::Answer(ok("{}"))).await;
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
