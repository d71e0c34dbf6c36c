//! Operations that are impossible or forbidden: each ends with one sentence.

use kubetester::drill::{
    event_log::EventLog,
    kubernetes::Kubernetes,
    platform::{DrillTarget, Platform, PlatformError},
};
use serde_json::json;
use service::testing::{api_server::Behaviour, bounded};

use super::deployment::{Cluster, DEPLOYMENTS, NAME};

fn assert_error(outcome: Result<(), PlatformError>, words: &[&str]) {
    let PlatformError(sentence) = outcome.unwrap_err();
    for word in words {
        assert!(sentence.contains(word), "{word} is not in: {sentence}");
    }
    assert!(!sentence.contains('\n'), "{sentence}");
}

#[tokio::test]
async fn missing_permission_is_named_by_verb_and_resource() {
    let cluster = Cluster::start(3).await;
    let mut platform = Kubernetes::at(cluster.config().await, NAME).await.unwrap();
    let event_log = EventLog::new();
    // Without the controller pods stay unchanged, and each drill proceeds until the missing permission.
    cluster.stop_controller();
    for (verb, resource, group) in [
        ("patch", "deployments", "apps"),
        ("patch", "deployments/scale", "apps"),
        ("list", "pods", ""),
        ("watch", "pods", ""),
        ("delete", "pods", ""),
    ] {
        cluster.server().await.set_behaviour(Behaviour::Denied(verb, resource));
        let outcome = match (verb, resource) {
            ("delete", _) => bounded(platform.kill("hellogrpc-1", &event_log)).await,
            ("patch", "deployments") => bounded(platform.restart(&event_log)).await,
            _ => bounded(platform.scale(5, &event_log)).await,
        };
        let role = format!("the verb {verb:?} on {resource:?} of the API group {group:?}");
        assert_error(
            outcome,
            &[&format!("you may not {verb} {resource} in the namespace default"), &role, "drill-job.yaml"],
        );
    }
    cluster.server().await.set_behaviour(Behaviour::Denied("get", "deployments"));
    let found = Kubernetes::at(cluster.config().await, NAME).await.map(drop);
    assert_error(found, &["you may not get deployments"]);
    cluster.server().await.set_behaviour(Behaviour::Normal);
    bounded(platform.restore()).await.unwrap();
}

#[tokio::test]
async fn failed_restore_error_has_the_command() {
    let cluster = Cluster::start(3).await;
    let mut platform = Kubernetes::at(cluster.config().await, NAME).await.unwrap();
    bounded(platform.scale(4, &EventLog::new())).await.unwrap();
    cluster.server().await.set_behaviour(Behaviour::Denied("patch", "deployments/scale"));
    let command = "'kubectl -n default scale deployment/hellogrpc --replicas=3'";
    assert_error(bounded(platform.restore()).await, &[command, "you may not patch deployments/scale"]);
}

#[tokio::test]
async fn missing_deployment_is_named() {
    let cluster = Cluster::start(1).await;
    let found = Kubernetes::at(cluster.config().await, "hellogprc").await.map(drop);
    assert_error(found, &["there is no Deployment hellogprc in the namespace default", "--deployment"]);
}

#[tokio::test]
async fn expired_credentials_are_not_missing_permissions() {
    let cluster = Cluster::start(1).await;
    cluster.server().await.require_token("another");
    assert_error(Kubernetes::at(cluster.config().await, NAME).await.map(drop), &["rejected the credentials"]);
}

#[tokio::test]
async fn stuck_rollout_ends_the_drill_with_the_controllers_message() {
    let cluster = Cluster::start(3).await;
    let mut platform = Kubernetes::at(cluster.config().await, NAME).await.unwrap();
    cluster.stop_controller();
    let event_log = EventLog::new();
    let stuck = async {
        while cluster.changes().await.is_empty() {
            tokio::task::yield_now().await;
        }
        let server = cluster.server().await;
        let mut deployment = server.get(DEPLOYMENTS, NAME).unwrap();
        deployment["status"] = json!({
            "observedGeneration": 2, "replicas": 4, "updatedReplicas": 1, "availableReplicas": 3,
            "conditions": [{
                "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
                "message": "ReplicaSet \"hellogrpc-7f\" has timed out progressing."
            }]
        });
        server.put(DEPLOYMENTS, deployment);
    };
    let (outcome, ()) = bounded(async { tokio::join!(platform.restart(&event_log), stuck) }).await;
    assert_error(outcome, &["given up by its controller", "has timed out progressing"]);
}

/// Runs with paused time, so that waiting 30 s takes no time.
#[tokio::test]
async fn unreachable_api_server_ends_the_drill() {
    let cluster = Cluster::start(3).await;
    let mut platform = Kubernetes::at(cluster.config().await, NAME).await.unwrap();
    cluster.stop_controller();
    cluster.server().await.stop().await;
    tokio::time::pause();
    assert_error(
        platform.restart(&EventLog::new()).await,
        &["the API server http://127.0.0.1:", "did not list pods for 30s"],
    );
}

#[tokio::test]
async fn impossible_scenario_is_an_error() {
    let cluster = Cluster::start(1).await;
    let mut platform = Kubernetes::at(cluster.config().await, NAME).await.unwrap();
    assert_error(
        platform.freeze("hellogrpc-1", &EventLog::new()).await,
        &["freeze cannot be done", "restart, scale and kill"],
    );
    let drill_target = DrillTarget::Gateway("/hellogrpc".to_owned());
    assert_error(
        platform.target(&drill_target).await.map(drop),
        &["from outside the cluster", "--target", "port-forward"],
    );
    assert_error(platform.target(&DrillTarget::Direct).await.map(drop), &["--target"]);
    let target = platform.target(&"grpc://127.0.0.1:1".parse().unwrap()).await.unwrap();
    assert_eq!(target.to_string(), "grpc://127.0.0.1:1");
}
