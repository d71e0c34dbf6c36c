//! The whole command, with a kubeconfig, while calls run against pods that are added and removed.

use std::{fmt::Write as _, sync::Arc};

use axum::{Router, routing::get};
use service::testing::{api_server::Behaviour, bounded, exit_of};
use tokio::{net::TcpListener, sync::Mutex};

use super::deployment::{Cluster, DEPLOYMENTS, NAME};

/// Starts a server that answers as each ready pod in turn: as a gateway in front of the pods, or as pods that are
/// gateways themselves.
async fn gateway(cluster: Arc<Cluster>, themselves: bool) -> String {
    let turn = Arc::new(Mutex::new(0_usize));
    let answer = move || async move {
        let pods = cluster.ready().await;
        let mut turn = turn.lock().await;
        *turn += 1;
        let pod = &pods[*turn % pods.len()];
        match themselves {
            true => format!(r#"{{"hostname":"{pod}","response":{{"hostname":"backend"}}}}"#),
            false => format!(r#"{{"hostname":"gateway","response":{{"hostname":"{pod}"}}}}"#),
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, Router::new().route("/hellogrpc", get(answer))).await });
    format!("http://{address}/hellogrpc")
}

/// Runs `kubetester drill` with these arguments; returns its exit code, standard output and standard error.
async fn drill(cluster: &Arc<Cluster>, arguments: &str) -> (Option<i32>, String, String) {
    let url = gateway(cluster.clone(), false).await;
    drill_at(cluster, &url, arguments).await
}

async fn drill_at(cluster: &Arc<Cluster>, url: &str, arguments: &str) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    std::fs::write(&path, cluster.server().await.kubeconfig("secret")).unwrap();
    let mut line = format!("drill --on kubernetes --target {url} --rate 200 --steady 200ms --settle 100ms");
    write!(line, " --outage 50ms {arguments}").unwrap();
    let words: Vec<_> = line.split(' ').collect();
    let env = [("KUBECONFIG", path.to_str().unwrap()), ("NO_COLOR", "1")];
    let exit = bounded(exit_of(env!("CARGO_BIN_EXE_kubetester"), &words, &env)).await;
    (exit.code, exit.stdout, exit.stderr)
}

#[tokio::test]
async fn each_drill_finds_its_pods_and_fails_no_call() {
    for (scenario, found) in [("restart", 3), ("scale 5", 2), ("kill", 1)] {
        let cluster = Arc::new(Cluster::start(3).await);
        let (code, json, said) = drill(&cluster, &format!("{scenario} --json --max-errors 0")).await;
        assert_eq!(code, Some(0), "{scenario}: {said}");
        let result: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((result["on"].as_str(), result["load"]["failed"].as_u64()), (Some("kubernetes"), Some(0)));
        let pods = result["found"].as_array().unwrap();
        assert_eq!(pods.len(), found, "{scenario}: {pods:?}");
        assert!(pods.iter().all(|pod| pod["discovery"].is_f64()), "{scenario}: {pods:?}");
        assert_eq!(cluster.server().await.get(DEPLOYMENTS, NAME).unwrap()["spec"]["replicas"], 3);
        let requests = cluster.server().await.requests();
        assert!(
            requests.iter().all(|request| request.token.as_deref() == Some("secret")),
            "the kubeconfig has a token"
        );
    }
}

#[tokio::test]
async fn pods_of_a_gateway_are_found_by_their_own_hostname() {
    let cluster = Arc::new(Cluster::start(3).await);
    let url = gateway(cluster.clone(), true).await;
    let (code, json, said) = drill_at(&cluster, &url, "kill --json --max-errors 0").await;
    assert_eq!(code, Some(0), "{said}");
    let result: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(result["found"][0]["discovery"].is_f64(), "{result}");
    assert!(result["lost"][0]["last_answer_at"].is_f64(), "{result}");
}

#[tokio::test]
async fn target_outside_the_deployment_is_an_error_before_any_change() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/named", get(async || r#"{"hostname":"web-1"}"#))
        .route("/unnamed", get(async || "<html>"));
    tokio::spawn(async { axum::serve(listener, router).await });
    for (path, scenario, words) in [
        ("named", "kill", "the answers came from web-1; name a --target within the drilled system"),
        ("named", "restart", "the answers came from web-1"),
        ("named", "scale 5", "the answers came from web-1"),
        ("unnamed", "kill", "--pod-from"),
    ] {
        let cluster = Arc::new(Cluster::start(3).await);
        let (code, out, said) = drill_at(&cluster, &format!("{url}/{path}"), scenario).await;
        assert_eq!((code, &*out, said.lines().count()), (Some(3), "", 1), "{scenario}: {said}");
        let none = "none of the drilled pods (hellogrpc-1, hellogrpc-2, hellogrpc-3) has answered a call: ";
        assert!(said.contains(none) && said.contains(words), "{scenario}: {said}");
        assert_eq!(cluster.changes().await, [""; 0], "{scenario}");
    }
}

#[tokio::test]
async fn forbidden_operation_is_exit_code_3() {
    let cluster = Arc::new(Cluster::start(3).await);
    cluster.server().await.set_behaviour(Behaviour::Denied("patch", "deployments"));
    let (code, _, said) = drill(&cluster, "restart").await;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("kubetester: you may not patch deployments in the namespace default"), "{said}");
}

#[tokio::test]
async fn freeze_is_bad_usage() {
    let cluster = Arc::new(Cluster::start(1).await);
    let (code, _, said) = drill(&cluster, "freeze").await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("an API server cannot stop and resume a process"), "{said}");
    assert!(cluster.server().await.requests().is_empty());
}
