//! The gateway with a `kubernetes:///` target, an API server and the pods that it lists.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod harness;

use harness::{
    client::{get, upstream_failure},
    grpc_backend::{GrpcBackend, grpc_backend, introduction},
    ipv4, refusing,
};
use serde_json::Value;
use service::testing::{
    Exposition, Running,
    api_server::{ApiServer, Behaviour, Slice},
    bounded,
};
use tempfile::TempDir;

const EXE: &str = env!("CARGO_BIN_EXE_helloserve");

/// Starts an API server, and writes a kubeconfig for it.
async fn api_server() -> (ApiServer, TempDir, String) {
    let (api, folder) = (ApiServer::start().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("config");
    std::fs::write(&file, api.kubeconfig("token")).unwrap();
    (api, folder, file.to_str().unwrap().to_owned())
}

/// Adds an EndpointSlice with one backend in `zone`, with the port `grpc`.
fn add_slice(api: &ApiServer, pod: &str, backend: &GrpcBackend, zone: &str) {
    let listed = Slice::pod_in(pod, &backend.addr.ip().to_string(), zone);
    api.put_slice(&Slice::new(&format!("slice-of-{pod}"), "grpc-svc", backend.addr.port(), [listed]));
}

async fn channels(gateway: &Running) -> Value {
    serde_json::from_str(&get(gateway.admin, "/debug/channels").await.body).unwrap()
}

/// Waits until a channel has exactly `count` subchannels and all of them are READY. Returns the channel's state.
async fn ready(gateway: &Running, channel: usize, count: usize) -> Value {
    bounded(async {
        loop {
            let state = channels(gateway).await["channels"][channel].clone();
            let subchannels = state["subchannels"].as_array().unwrap();
            if subchannels.len() == count && subchannels.iter().all(|one| one["state"] == "READY") {
                return state;
            }
        }
    })
    .await
}

#[tokio::test]
async fn calls_stay_in_the_zone_of_the_gateway() {
    let mut pods = Vec::new();
    let (api, _folder, kubeconfig) = api_server().await;
    for (pod, zone) in [("a-1", "a"), ("a-2", "a"), ("b-1", "b"), ("b-2", "b")] {
        pods.push(grpc_backend(move |name| Box::pin(async move { Ok(introduction(name, pod)) })).await);
        add_slice(&api, pod, &pods[pods.len() - 1], zone);
    }
    let routes = r#"[{"name": "watched", "target": "kubernetes:///grpc-svc:grpc"}]"#;
    let target = ipv4(refusing()).to_string();
    let env =
        [("GRPC_TARGET", &*target), ("GRPC_ROUTES", routes), ("KUBECONFIG", &*kubeconfig), ("ZONE", "b")];
    let gateway = Running::start(EXE, &env).await;

    let seen = ready(&gateway, 1, 2).await;
    assert_eq!((&seen["name"], &seen["resolver"]["endpoints"]), (&"watched".into(), &4.into()));
    let mut shown: Vec<_> = seen["subchannels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["name"].as_str().unwrap(), one["zone"].as_str().unwrap()))
        .collect();
    shown.sort_unstable();
    assert_eq!(shown, [("b-1", "b"), ("b-2", "b")]);
    let answer = get(gateway.listen, "/hellogrpc?name=Ann&via=watched").await;
    assert!(answer.status == 200 && answer.body.contains("\"hostname\":\"b-"), "{answer:?}");
    // The metrics have the names of the pods, and only those in the gateway's zone.
    let read = Exposition::parse(&get(gateway.admin, "/metrics").await.body);
    let takes_calls = |pod: &str, backend: &GrpcBackend, zone: &str| {
        let address = backend.addr.to_string();
        let labels = [
            ("route", "watched"),
            ("grpc_target", "kubernetes:///grpc-svc:grpc"),
            ("peer_name", pod),
            ("peer_address", &*address),
            ("peer_zone", zone),
        ];
        read.value("balanced_channel_endpoint_ready", &labels)
    };
    assert_eq!([takes_calls("b-1", &pods[2], "b"), takes_calls("b-2", &pods[3], "b")], [Some(1.0); 2]);
    assert_eq!(takes_calls("a-1", &pods[0], "a"), None);

    // Now three pods are in the gateway's zone.
    add_slice(&api, "b-3", &pods[0], "b");
    for slice in ["slice-of-a-1", "slice-of-a-2"] {
        api.delete_slice(slice);
    }
    ready(&gateway, 1, 3).await;
}

#[tokio::test]
async fn missing_role_is_explained_on_the_admin_port() {
    let (api, _folder, kubeconfig) = api_server().await;
    api.set_behaviour(Behaviour::Forbidden);
    let env = [("GRPC_TARGET", "kubernetes:///grpc-svc:grpc"), ("KUBECONFIG", &*kubeconfig), ("ZONE", "")];
    let gateway = Running::start(EXE, &env).await;
    let error = bounded(async {
        loop {
            let details: Value =
                serde_json::from_str(&get(gateway.admin, "/debug/routes").await.body).unwrap();
            if let Some(error) = details["routes"][0]["error"].as_str() {
                return error.to_owned();
            }
        }
    })
    .await;
    assert!(error.contains("403") && error.contains("endpointslices"), "{error}");
    upstream_failure(&get(gateway.listen, "/hellogrpc").await, 503, "unavailable");
}
