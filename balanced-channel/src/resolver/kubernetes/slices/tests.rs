//! Tests of the endpoints that result from slices.

#![allow(clippy::needless_pass_by_value, reason = "tests pass JSON literals")]

use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::*;

/// Returns the service `svc` with this port.
fn service(port: &str) -> Service {
    Service::parse(&format!("///svc:{port}")).unwrap()
}

fn slice(name: &str, address_type: &str, ports: Value, endpoints: Value) -> Slice {
    serde_json::from_value(json!({
        "metadata": {"name": name, "resourceVersion": "1"},
        "addressType": address_type, "ports": ports, "endpoints": endpoints
    }))
    .unwrap()
}

fn v4(name: &str, endpoints: Value) -> Slice {
    slice(name, "IPv4", json!([{"name": "grpc", "port": 8000, "protocol": "TCP"}]), endpoints)
}

fn pod(address: &str, conditions: Value) -> Value {
    json!({"addresses": [address], "conditions": conditions})
}

fn found(slices: impl IntoIterator<Item = Slice>, port: &str) -> Vec<String> {
    let mut all = Slices::default();
    all.replace(slices);
    addresses(&all.endpoints(&service(port)).unwrap())
}

fn addresses(endpoints: &[Endpoint]) -> Vec<String> {
    endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect()
}

#[test]
fn address_in_two_slices_is_one_endpoint() {
    let slices = [
        v4(
            "svc-b",
            json!([pod("10.0.0.3", json!({"ready": true})), pod("10.0.0.1", json!({"ready": true}))]),
        ),
        v4(
            "svc-a",
            json!([pod("10.0.0.2", json!({"ready": true})), pod("10.0.0.1", json!({"ready": true}))]),
        ),
    ];
    assert_eq!(found(slices, "8000"), ["10.0.0.1:8000", "10.0.0.2:8000", "10.0.0.3:8000"]);
}

#[test]
fn missing_conditions_count_as_ready_and_serving() {
    let slices = v4(
        "svc-a",
        json!([
            pod("10.0.0.1", json!({})),
            pod("10.0.0.2", json!({"ready": null, "serving": null, "terminating": null})),
            json!({"addresses": ["10.0.0.3"]}),
            json!({"addresses": ["10.0.0.4"], "conditions": null}),
            pod("10.0.0.5", json!({"ready": false})),
            pod("10.0.0.6", json!({"ready": false, "serving": true})),
            pod("10.0.0.7", json!({"ready": true, "serving": true, "terminating": false})),
        ]),
    );
    assert_eq!(
        found([slices], "8000"),
        ["10.0.0.1:8000", "10.0.0.2:8000", "10.0.0.3:8000", "10.0.0.4:8000", "10.0.0.7:8000"]
    );
}

#[test]
fn terminating_endpoint_that_serves_is_used_only_if_none_is_ready() {
    let draining = pod("10.0.0.1", json!({"ready": false, "serving": true, "terminating": true}));
    // With publishNotReadyAddresses, terminating pods are marked as ready too.
    let published = pod("10.0.0.2", json!({"ready": true, "terminating": true}));
    let gone = pod("10.0.0.3", json!({"ready": false, "serving": false, "terminating": true}));
    let unknown = pod("10.0.0.4", json!({"ready": false, "terminating": true}));
    let ready = pod("10.0.0.5", json!({"ready": true}));
    let all = json!([draining, published, gone, unknown, ready]);
    assert_eq!(found([v4("svc-a", all)], "8000"), ["10.0.0.5:8000"]);
    let rest = json!([draining, published, gone, unknown]);
    assert_eq!(found([v4("svc-a", rest)], "8000"), ["10.0.0.1:8000", "10.0.0.2:8000"]);
    assert!(found([v4("svc-a", json!([gone, unknown]))], "8000").is_empty());
    // While an endpoint moves between slices, one of them may be outdated.
    let late = pod("10.0.0.5", json!({"ready": false, "serving": true, "terminating": true}));
    for (one, other) in [("svc-a", "svc-b"), ("svc-b", "svc-a")] {
        assert_eq!(found([v4(one, json!([late])), v4(other, json!([ready]))], "8000"), ["10.0.0.5:8000"]);
    }
}

#[test]
fn port_is_found_by_name_or_number_in_each_slice() {
    let ready = |address: &str| json!([pod(address, json!({"ready": true}))]);
    let ports = |name: &str, port: Value| json!([{"name": name, "port": port, "protocol": "TCP"}]);
    let slices = || {
        [
            slice("a", "IPv4", ports("grpc", 8000.into()), ready("10.0.0.1")),
            slice("b", "IPv4", ports("grpc", 9000.into()), ready("10.0.0.2")),
            slice("c", "IPv4", ports("http", 8000.into()), ready("10.0.0.3")),
            slice("d", "IPv4", Value::Null, ready("10.0.0.4")),
            slice("e", "IPv4", ports("grpc", Value::Null), ready("10.0.0.5")),
            slice("f", "IPv4", json!([{"name": "grpc", "port": 8000, "protocol": "UDP"}]), ready("10.0.0.6")),
            slice("h", "IPv4", json!([]), ready("10.0.0.8")),
            slice(
                "g",
                "IPv4",
                json!([{"name": "web", "port": 80}, {"name": "grpc", "port": 8000}]),
                ready("10.0.0.7"),
            ),
        ]
    };
    // A named targetPort may have a different number in each pod.
    assert_eq!(found(slices(), "grpc"), ["10.0.0.1:8000", "10.0.0.2:9000", "10.0.0.7:8000"]);
    assert_eq!(
        found(slices(), "8000"),
        [
            "10.0.0.1:8000",
            "10.0.0.3:8000",
            "10.0.0.4:8000",
            "10.0.0.5:8000",
            "10.0.0.7:8000",
            "10.0.0.8:8000"
        ]
    );
}

#[test]
fn unknown_port_is_an_error_that_names_the_existing_ports() {
    let mut all = Slices::default();
    all.replace([v4("a", json!([pod("10.0.0.1", json!({}))]))]);
    for port in ["80", "http"] {
        assert_eq!(all.endpoints(&service(port)), Err(NoSuchPort { ports: "grpc (8000)".into() }));
    }
    // Without a usable endpoint, the ports are unknown.
    all.replace([v4("a", json!([pod("10.0.0.1", json!({"ready": false}))]))]);
    assert_eq!(all.endpoints(&service("80")), Ok(Vec::new()));
    all.replace([v4("a", Value::Null)]);
    assert_eq!(all.endpoints(&service("80")), Ok(Vec::new()));
}

#[test]
fn dual_stack_service_has_one_endpoint_per_pod_and_keeps_its_family() {
    let ports = json!([{"name": "grpc", "port": 8000}]);
    let four = |count: u8| {
        let pods = (0..count).map(|n| pod(&format!("10.0.0.{n}"), json!({})));
        slice("svc-4", "IPv4", ports.clone(), pods.collect())
    };
    let six = |count: u8| {
        let pods = (0..count).map(|n| pod(&format!("fd00::{n}"), json!({})));
        slice("svc-6", "IPv6", ports.clone(), pods.collect())
    };
    let mut all = Slices::default();
    let mut of = |slices: [Slice; 2]| {
        all.replace(slices);
        addresses(&all.endpoints(&service("grpc")).unwrap())
    };
    assert_eq!(of([four(2), six(2)]), ["10.0.0.0:8000", "10.0.0.1:8000"]);
    // The slice of one family is outdated, which must not move every call.
    assert_eq!(of([four(1), six(3)]), ["10.0.0.0:8000"]);
    assert_eq!(of([four(0), six(1)]), ["[fd00::]:8000"]);
    assert_eq!(of([four(3), six(1)]), ["[fd00::]:8000"]);
    assert!(of([four(0), six(0)]).is_empty());
}

#[test]
fn endpoint_has_the_name_zone_and_hints_of_its_pod() {
    let mut all = Slices::default();
    all.replace([v4(
        "a",
        json!([
            {"addresses": ["10.0.0.1", "10.9.9.9"], "zone": "eu-1a", "targetRef": {"kind": "Pod", "name": "svc-x7k2p"},
             "hints": {"forZones": [{"name": "eu-1a"}, {"name": "eu-1b"}]}},
            {"addresses": ["10.0.0.2"], "zone": "", "targetRef": null, "hints": {"forZones": null}},
            {"addresses": []}, {"addresses": ["not-an-address"]}, {"addresses": ["fd00::1"]}
        ]),
    )]);
    let plain = |address: &str| Endpoint::from(address.parse::<SocketAddr>().unwrap());
    let first = plain("10.0.0.1:8000").named("svc-x7k2p").in_zone("eu-1a").for_zones(["eu-1a", "eu-1b"]);
    assert_eq!(all.endpoints(&service("grpc")), Ok(vec![first, plain("10.0.0.2:8000")]));
}

#[test]
fn fqdn_slices_are_ignored() {
    let ports = json!([{"name": "grpc", "port": 8000}]);
    let names = || slice("a", "FQDN", ports.clone(), json!([{"addresses": ["svc.example"]}]));
    assert!(found([names()], "grpc").is_empty());
    assert_eq!(found([names(), v4("b", json!([pod("10.0.0.1", json!({}))]))], "grpc"), ["10.0.0.1:8000"]);
}

/// Generates a change of one of four slices: a new list of pods, out of ten, or its deletion.
fn change() -> impl Strategy<Value = (usize, Option<Vec<(u8, bool)>>)> {
    (0..4_usize, proptest::option::weighted(0.8, vec((0..10_u8, any::<bool>()), 0..6)))
}

proptest! {
    /// Pods may be in many slices or in none. Only the last version of each slice matters, not the order of changes.
    #[test]
    fn endpoints_after_changes_are_those_of_the_last_version_of_each_slice(changes in vec(change(), 1..20)) {
        let made = |number: usize, pods: &[(u8, bool)]| {
            let pods = pods.iter().map(|(pod_number, ready)| {
                pod(&format!("10.0.0.{pod_number}"), json!({"ready": ready}))
            });
            v4(&format!("svc-{number}"), pods.collect())
        };
        let mut followed = Slices::default();
        let mut last = BTreeMap::new();
        for (number, pods) in &changes {
            match pods {
                Some(pods) => {
                    followed.apply(made(*number, pods));
                    last.insert(*number, pods);
                }
                None => {
                    followed.delete(&made(*number, &[]));
                    last.remove(number);
                }
            }
        }
        let ready: BTreeSet<_> =
            last.values().flat_map(|pods| pods.iter()).filter(|pod| pod.1).map(|pod| pod.0).collect();
        let expected: Vec<_> = ready.iter().map(|number| format!("10.0.0.{number}:8000")).collect();
        prop_assert_eq!(addresses(&followed.endpoints(&service("grpc")).unwrap()), expected);
    }
}
