//! A backend that shuts down under load: no request to the gateway fails.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod harness;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use harness::{InProcess, dns_server::dns_server, gateway, running_at};
use service::testing::{Client, bounded};
use tokio::{sync::watch, task::JoinSet, time};

const CALLERS: usize = 8;

/// Runs callers over keep-alive connections, shuts `pod` down once it is under load, lets the callers go on without it,
/// and checks that every response is 200.
async fn shutdown_fails_no_request(gateway: &InProcess, path: &'static str, pod: InProcess) {
    let done = Arc::new(AtomicUsize::new(0));
    let (stop, stopped) = watch::channel(false);
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (addr, done, stopped) = (gateway.addr, done.clone(), stopped.clone());
        callers.spawn(async move {
            let mut client = Client::connect(addr).await;
            while !*stopped.borrow() {
                let answer = client.get(path).await;
                assert_eq!(answer.status, 200, "{answer:?}");
                done.fetch_add(1, SeqCst);
            }
        });
    }
    let more = async |calls| {
        let target = done.load(SeqCst) + calls;
        bounded(async {
            while done.load(SeqCst) < target {
                time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    };
    more(150).await;
    pod.end().await;
    more(150).await;
    stop.send(true).unwrap();
    bounded(callers.join_all()).await;
}

#[tokio::test]
async fn shutdown_of_hellogrpc_fails_no_request() {
    let mut pods = Vec::new();
    for pod in 0..3 {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let serve = |listener, instance| hellogrpc::serve(hellogrpc::Config::default(), listener, instance);
        pods.push(running_at(addr, "v1-hellogrpc", &format!("pod-{pod}"), serve).await);
    }
    let target = format!("ipv4:{},{},{}", pods[0].addr, pods[1].addr, pods[2].addr);
    let gateway = gateway(|config| config.grpc_target = target.parse().unwrap()).await;
    shutdown_fails_no_request(&gateway, "/hellogrpc?name=Ann", pods.remove(0)).await;
}

#[tokio::test]
async fn shutdown_of_hellohttp_fails_no_request() {
    let mut pods: Vec<InProcess> = Vec::new();
    let addresses = [1, 2, 3].map(|last| Ipv4Addr::new(127, 20, 1, last));
    for address in addresses {
        let port = pods.first().map_or(0, |first| first.addr.port());
        let serve = |listener, instance| hellohttp::serve(hellohttp::Config::default(), listener, instance);
        pods.push(running_at((address, port).into(), "v1-hellohttp", &address.to_string(), serve).await);
    }
    // DNS still has the address of the pod after its shutdown, as in a real cluster for a short time.
    let server = dns_server(addresses.to_vec(), 1).await;
    let gateway = gateway(|config| {
        config.http_target =
            format!("http://http-svc.test:{}/hellohttp", pods[0].addr.port()).parse().unwrap();
        config.http_dns_server = Some(server.addr);
    })
    .await;
    shutdown_fails_no_request(&gateway, "/hellohttp?name=Ann", pods.remove(0)).await;
}
