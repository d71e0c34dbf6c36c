//! The parts of Deployments and pods that a drill uses. The complete types would add much code for fields that are not
//! used.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{ApiResource, Object};
use serde::{Deserialize, Serialize};

/// A Deployment, `apps/v1`.
pub(super) type Deployment = Object<DeploymentSpec, DeploymentStatus>;
/// A pod, `v1`.
pub(super) type Pod = Object<PodSpec, PodStatus>;

/// The desired state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct DeploymentSpec {
    /// The number of replicas; the API server defaults it to 1.
    #[serde(default = "one")]
    pub(super) replicas: i32,
    /// The selector of its pods.
    pub(super) selector: LabelSelector,
}

/// The status that its controller reports.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DeploymentStatus {
    /// The generation that this status belongs to.
    pub(super) observed_generation: i64,
    /// The number of pods of any generation that are not terminating.
    pub(super) replicas: i32,
    /// The replicas of the newest revision.
    pub(super) updated_replicas: i32,
    /// The replicas that have been ready for `minReadySeconds`.
    pub(super) available_replicas: i32,
    /// `Available`, `Progressing`.
    pub(super) conditions: Vec<Condition>,
}

/// An empty spec; none of its fields is used.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PodSpec {}

/// The status of a pod.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PodStatus {
    /// `Ready` among others.
    pub(super) conditions: Vec<Condition>,
}

/// One condition of an object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Condition {
    /// The type of the condition.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// `True`, `False` or `Unknown`.
    pub(super) status: String,
    /// The reason, as one word.
    pub(super) reason: String,
    /// The message, as a sentence.
    pub(super) message: String,
}

fn one() -> i32 {
    1
}

/// The API resource of Deployments.
pub(super) fn deployments() -> ApiResource {
    resource("apps", "Deployment", "deployments")
}

/// The API resource of pods.
pub(super) fn pods() -> ApiResource {
    resource("", "Pod", "pods")
}

fn resource(group: &str, kind: &str, plural: &str) -> ApiResource {
    let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    ApiResource {
        group: group.to_owned(),
        version: "v1".to_owned(),
        api_version,
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

// === impl Deployment ===

/// Returns whether the controller has replaced every pod by one of `generation` and all are available, as in
/// `kubectl rollout status`.
///
/// # Errors
///
/// Fails with the controller's message if it has given up (`progressDeadlineSeconds`).
pub(super) fn rolled_out(deployment: &Deployment, generation: i64) -> Result<bool, String> {
    let Some(status) = &deployment.status else { return Ok(false) };
    if status.observed_generation < generation {
        return Ok(false);
    }
    let stuck = |one: &&Condition| one.kind == "Progressing" && one.reason == "ProgressDeadlineExceeded";
    if let Some(condition) = status.conditions.iter().find(stuck) {
        return Err(condition.message.clone());
    }
    let wanted = deployment.spec.replicas;
    Ok([status.updated_replicas, status.replicas, status.available_replicas] == [wanted; 3])
}

/// Returns whether the pod takes calls: its condition `Ready`.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let ready = |one: &Condition| one.kind == "Ready" && one.status == "True";
    pod.status.as_ref().is_some_and(|status| status.conditions.iter().any(ready))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rollout_is_complete_when_every_pod_is_new_and_available() {
        for (observed, updated, replicas, available, over) in [
            (2, 3, 3, 3, true),
            (1, 3, 3, 3, false),
            (2, 2, 3, 3, false),
            (2, 3, 4, 4, false),
            (2, 3, 3, 2, false),
        ] {
            let deployment: Deployment = serde_json::from_value(json!({
                "metadata": {"name": "a"},
                "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "a"}}, "template": {}},
                "status": {"observedGeneration": observed, "updatedReplicas": updated, "replicas": replicas,
                           "availableReplicas": available, "readyReplicas": 3}
            }))
            .unwrap();
            assert_eq!(rolled_out(&deployment, 2), Ok(over), "{:?}", deployment.status);
        }
    }

    #[test]
    fn rollout_past_its_progress_deadline_is_an_error() {
        let deployment: Deployment = serde_json::from_value(json!({
            "metadata": {},
            "spec": {"selector": {}},
            "status": {"observedGeneration": 1, "conditions": [{"type": "Progressing", "status": "False",
                       "reason": "ProgressDeadlineExceeded", "message": "it has timed out progressing."}]}
        }))
        .unwrap();
        assert_eq!(rolled_out(&deployment, 1), Err("it has timed out progressing.".to_owned()));
        assert_eq!(rolled_out(&deployment, 2), Ok(false), "that was about the generation before");
    }
}
