//! Clients that keep connections alive lose no request when connections reach their maximum age or the server ends.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hellohttp::Config;
use service::{Identity, Instance, Shutdown, Trigger, testing::bounded};
use tokio::{net::TcpListener, task::JoinSet};

const CALLERS: usize = 8;

/// Starts a server with a maximum connection age of `age`, and a client that keeps connections alive like the gateway.
async fn start(age: Duration) -> (reqwest::Client, String, Instance, Trigger) {
    let (trigger, shutdown) = Shutdown::new();
    let identity = Identity { version: "v1-hellohttp".into(), hostname: "pod-2".into() };
    let instance = Instance::new(identity, shutdown);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hellohttp", listener.local_addr().unwrap());
    let mut config = Config::default();
    config.connections.max_connection_age = age;
    tokio::spawn(hellohttp::serve(config, listener, instance.clone()));
    let client = reqwest::Client::builder()
        .no_proxy()
        .retry(reqwest::retry::never())
        .pool_idle_timeout(Duration::from_millis(500))
        .build()
        .unwrap();
    (client, url, instance, trigger)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aged_connections_lose_no_request() {
    let (client, url, instance, _trigger) = start(Duration::from_millis(20)).await;
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (client, url) = (client.clone(), url.clone());
        callers.spawn(async move {
            let mut told = 0;
            for count in 0..100 {
                let response = client.get(&url).send().await.unwrap();
                assert_eq!(response.status(), 200);
                told += usize::from(response.headers().contains_key("connection"));
                response.bytes().await.unwrap();
                // Idle for about the maximum age, so that many connections reach it while idle.
                tokio::time::sleep(Duration::from_millis(count % 3)).await;
            }
            told
        });
    }
    let told: usize = bounded(callers.join_all()).await.iter().sum();
    assert!(told > CALLERS, "only {told} answers said that their connection ends");
    let metrics = instance.metrics.render().unwrap();
    assert!(metrics.contains(r#"http_requests_total{path="/hellohttp",status="200"} 800"#), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_loses_no_request() {
    let (client, url, _instance, trigger) = start(Duration::ZERO).await;
    let answered = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (client, url, answered) = (client.clone(), url.clone(), Arc::clone(&answered));
        callers.spawn(async move {
            loop {
                match client.get(&url).send().await {
                    Ok(response) => {
                        assert_eq!(response.status(), 200);
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    // The server is gone and nothing was sent, so no request is lost.
                    Err(error) if error.is_connect() => break,
                    Err(error) => panic!("a request was lost: {error:?}"),
                }
            }
        });
    }
    bounded(async {
        while answered.load(Ordering::Relaxed) < 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    trigger.close();
    bounded(callers.join_all()).await;
}
