//! Endpoints that are added, move, drain and are removed. The channel applies each change at once.

use std::time::Duration;

use backend::{call, fails};
use serde_json::json;
use tokio::time::Instant;
use tonic::Code;

use super::*;

/// The time within which a change should reach the channel on an idle machine. It is only printed with the measured
/// times; the limit of the test is higher, as the machine may be busy.
const SOON: Duration = Duration::from_millis(50);

#[tokio::test]
async fn watch_event_reaches_the_channel_at_once() {
    let cluster = Cluster::new(&["127.0.31.1", "127.0.31.2", "127.0.31.3"]).await;
    let channel = cluster.channel("grpc");
    found(&channel, 0).await;
    cluster.api.wait_for_watches(1).await;
    let mut took = Vec::new();
    for round in 0..10 {
        for count in [1, 2, 3, 2, 0] {
            let began = Instant::now();
            cluster.list("svc-a", 0..count);
            found(&channel, count).await;
            took.push(began.elapsed());
        }
        cluster.api.delete_slice("svc-a");
        if round % 2 == 0 {
            cluster.api.control_watches(service::testing::api_server::WatchAction::Bookmark);
        }
    }
    took.sort();
    let (median, most) = (took[took.len() / 2], took[took.len() - 1]);
    println!(
        "{} events were with the channel after {median:?} (median), {most:?} (most); {SOON:?} is soon",
        took.len()
    );
    assert!(median < SOON * 20, "{took:?}");
    assert_eq!(
        cluster.api.requests().iter().filter(|request| !request.watch).count(),
        1,
        "one list was enough"
    );
}

#[tokio::test]
async fn requests_are_well_formed_and_subchannels_have_the_names_of_pods() {
    let (cluster, channel) = Cluster::working(&["127.0.32.1", "127.0.32.2"]).await;
    assert_eq!(names(&channel), ["svc-0", "svc-1"]);
    let [list, watch] = &cluster.api.requests()[..] else { panic!("{:?}", cluster.api.requests()) };
    assert_eq!(list.path, Slice::COLLECTION);
    assert_eq!(list.value("labelSelector"), Some("kubernetes.io/service-name=svc"));
    assert_eq!(list.token.as_deref(), Some("first"));
    assert!(!list.watch && watch.watch && watch.path == Slice::COLLECTION);
    assert_eq!(watch.value("labelSelector"), Some("kubernetes.io/service-name=svc"));
    assert_eq!(watch.value("resourceVersion"), Some("1001"));
    assert_eq!(watch.value("allowWatchBookmarks"), Some("true"));
    let seconds: u64 = watch.value("timeoutSeconds").unwrap().parse().unwrap();
    assert!((60..=300).contains(&seconds));

    // A different pod has taken over an address.
    let pods = [cluster.pod(0), Slice::pod("svc-9", "127.0.32.2")];
    cluster.api.put_slice(&cluster.slice("svc-a", pods));
    until("the new name", || (names(&channel) == ["svc-0", "svc-9"]).then_some(())).await;
}

#[tokio::test]
async fn metrics_have_the_names_of_current_pods() {
    let (cluster, channel) = Cluster::working(&["127.0.30.1", "127.0.30.2"]).await;
    for _ in 0..6 {
        call(&channel, "").await.unwrap();
    }
    let series = |name: &str| -> Vec<(String, u64)> {
        let metric = channel.metrics().into_iter().find(|metric| metric.name == name).unwrap();
        let read = |point: balanced_channel::metrics::Point| {
            let labels = point.labels[1..].iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>();
            (labels.join(" "), point.count().unwrap())
        };
        metric.points.into_iter().map(read).collect()
    };
    let port = cluster.port();
    let of = |pod: &str, rest: &str| format!("{pod} 127.0.30.{}:{port} {rest}", &pod[4..]);
    // The last call may not have been counted yet.
    let ended = |pod: &str| [(of(pod, " succeeded"), 3), (of(pod, " failed"), 0)];
    let pods = ["svc-1", "svc-2"];
    let listed = pods.map(|pod| Slice::pod(pod, &format!("127.0.30.{}", &pod[4..])));
    cluster.api.put_slice(&cluster.slice("svc-a", listed.clone()));
    let calls = pods.map(ended).concat();
    until("all are counted", || (series("balanced_channel.endpoint.calls") == calls).then_some(())).await;
    assert_eq!(series("balanced_channel.endpoint.ready"), pods.map(|pod| (of(pod, ""), 1)));
    assert_eq!(series("balanced_channel.endpoint.calls_in_flight"), pods.map(|pod| (of(pod, ""), 0)));

    cluster.api.put_slice(&cluster.slice("svc-a", listed[1..].to_vec()));
    until("one is left", || (series("balanced_channel.endpoint.calls") == ended("svc-2")).then_some(()))
        .await;
    assert_eq!(series("balanced_channel.endpoints"), [(String::new(), 1)]);
}

#[tokio::test]
async fn namespace_of_the_target_is_requested() {
    let cluster = Cluster::new(&["127.0.33.1"]).await;
    let target = format!("kubernetes:///svc.prod:{}", cluster.port());
    let channel = Channel::builder(target).kubeconfig(cluster.kubeconfig()).build().unwrap();
    let collection = Slice::COLLECTION.replace("default", "prod");
    let slice = cluster.slice("svc-a", [cluster.pod(0)]);
    let other =
        Slice { service: "other".into(), ..cluster.slice("other-a", [Slice::pod("other", "127.0.33.9")]) };
    cluster.api.put(&collection, other.json());
    cluster.api.put(&collection, slice.json());
    ready(&channel, 1).await;
    assert_eq!(call(&channel, "").await.unwrap(), cluster.backends[0].address.to_string());
}

#[tokio::test]
async fn thousand_endpoints_in_ten_slices_are_one_set() {
    let cluster = Cluster::new(&["127.0.34.1"]).await;
    let closed = backend::unused_address().port();
    let pods = |slice: u8| {
        (0..100_u8).map(move |n| Slice::pod(&format!("svc-{slice}-{n}"), &format!("127.1.{slice}.{}", n + 1)))
    };
    // Creates the slices in random order, as controllers do.
    for slice in [3, 9, 0, 7, 1, 8, 2, 6, 4, 5] {
        cluster.api.put_slice(&Slice::new(&format!("svc-{slice}"), "svc", closed, pods(slice)));
    }
    let channel = cluster.channel("grpc");
    found(&channel, 1000).await;
    cluster.api.wait_for_watches(1).await;

    // One slice changes, one is deleted, and an endpoint that moves is in two slices.
    cluster.api.put_slice(&Slice::new("svc-7", "svc", closed, pods(7).take(60)));
    found(&channel, 960).await;
    cluster.api.put_slice(&Slice::new("svc-late", "svc", closed, pods(7).skip(50)));
    found(&channel, 1000).await;
    cluster.api.delete_slice("svc-2");
    found(&channel, 900).await;
    cluster.api.put_slice(&Slice::new("svc-7", "svc", closed, []));
    found(&channel, 850).await;
}

#[tokio::test]
async fn draining_pod_is_used_only_without_ready_pods() {
    let (cluster, channel) = Cluster::working(&["127.0.35.1", "127.0.35.2"]).await;
    let caller = Caller::start(&channel);
    let draining = Slice::draining("svc-0", "127.0.35.1");
    cluster.api.put_slice(&cluster.slice("svc-a", [draining.clone(), cluster.pod(1)]));
    until("only the other one", || (names(&channel) == ["svc-1"]).then_some(())).await;
    // All pods are draining.
    let other = Slice::draining("svc-1", "127.0.35.2");
    cluster.api.put_slice(&cluster.slice("svc-a", [draining, other]));
    ready(&channel, 2).await;
    caller.calls(20).await;
    // A new pod gets all calls.
    cluster.api.put_slice(&cluster.slice("svc-b", [cluster.pod(0)]));
    until("only the new one", || (names(&channel) == ["svc-0"]).then_some(())).await;
    assert_eq!(caller.failures().await, [""; 0]);
}

#[tokio::test]
async fn missing_or_empty_service_fails_calls_until_an_endpoint_appears() {
    let cluster = Cluster::new(&["127.0.36.1"]).await;
    let channel = cluster.channel("grpc");
    found(&channel, 0).await;
    let (code, message) = fails(&channel, "").await;
    assert_eq!(code, Code::Unavailable);
    assert!(message.contains("kubernetes:///svc:grpc: the name has no addresses"), "{message}");

    // A Service whose selector matches no pod has a slice too, which contains nulls.
    let none = Slice { endpoints: json!(null), ports: json!(null), ..cluster.slice("svc-a", []) };
    cluster.api.put_slice(&none);
    cluster.list("svc-a", [0]);
    ready(&channel, 1).await;
    call(&channel, "").await.unwrap();

    // The service is scaled to zero: connected endpoints stay, as with DNS.
    cluster.api.put_slice(&none);
    found(&channel, 0).await;
    call(&channel, "").await.unwrap();
}

#[tokio::test]
async fn named_port_with_a_new_number_is_followed() {
    let cluster = Cluster::new(&["127.0.37.1"]).await;
    let other = Backend::on("127.0.37.1:0".parse().unwrap());
    cluster.list("svc-a", [0]);
    let channel = cluster.channel("grpc");
    ready(&channel, 1).await;
    let caller = Caller::start(&channel);
    cluster.api.put_slice(&Slice::new("svc-a", "svc", other.address.port(), [cluster.pod(0)]));
    until("calls at the new port", || (other.calls() > 0).then_some(())).await;
    ready(&channel, 1).await;
    assert_eq!(caller.failures().await, [""; 0]);
}

#[tokio::test]
async fn port_that_no_pod_has_is_an_error_that_names_the_existing_ports() {
    let cluster = Cluster::new(&["127.0.38.1"]).await;
    cluster.list("svc-a", [0]);
    let channel = cluster.channel("http");
    let expected = format!("the pods of service svc have no port http: they have grpc ({})", cluster.port());
    assert_eq!(resolver_error(&channel, "port").await, expected);
    let (code, message) = fails(&channel, "").await;
    assert_eq!((code, message), (Code::Unavailable, format!("kubernetes:///svc:http: {expected}")));
    // The service gets the port.
    let ports = json!([{"name": "http", "port": cluster.port(), "protocol": "TCP"}]);
    cluster.api.put_slice(&Slice { ports, ..cluster.slice("svc-a", [cluster.pod(0)]) });
    ready(&channel, 1).await;
    content(&channel).await;
}
