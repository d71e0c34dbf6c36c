//! A Deployment at a test's API server, and a controller that creates its pods in steps of a few milliseconds. Like the
//! real controller it surges by one pod while it replaces pods, and never has fewer ready pods than desired.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use service::testing::api_server::ApiServer;
use tokio::{
    sync::{Mutex, MutexGuard},
    task::JoinHandle,
    time::sleep,
};

/// The path of the Deployments.
pub(crate) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
/// The path of the pods.
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
/// The name of the Deployment.
pub(crate) const NAME: &str = "hellogrpc";

const STEP: Duration = Duration::from_millis(3);

/// An API server with one Deployment.
pub(crate) struct Cluster {
    server: Arc<Mutex<ApiServer>>,
    controller: JoinHandle<()>,
}

/// The controller's state of a pod.
struct Pod {
    name: String,
    generation: i64,
    ready: bool,
    stopping: bool,
    object: Value,
}

// === impl Cluster ===

impl Cluster {
    /// Starts a cluster with `replicas` ready pods.
    pub(crate) async fn start(replicas: i64) -> Self {
        let server = ApiServer::start().await;
        server.put(
            DEPLOYMENTS,
            json!({
                "kind": "Deployment", "apiVersion": "apps/v1",
                "metadata": {"name": NAME, "namespace": "default", "generation": 1},
                "spec": {
                    "replicas": replicas, "selector": {"matchLabels": {"app": "hello", "tier": "grpc"}},
                    "template": {"metadata": {"labels": {"app": "hello", "tier": "grpc"}}, "spec": {}}
                },
                "status": {}
            }),
        );
        // The pod of another Deployment, which no drill may change or count.
        server.put(PODS, pod("other-1", "web", 1, true));
        let server = Arc::new(Mutex::new(server));
        let controller = tokio::spawn(control(server.clone()));
        let cluster = Self { server, controller };
        while cluster.ready().await.len() as i64 != replicas {
            sleep(STEP).await;
        }
        cluster
    }

    pub(crate) async fn server(&self) -> MutexGuard<'_, ApiServer> {
        self.server.lock().await
    }

    /// Returns the configuration of a client.
    pub(crate) async fn config(&self) -> kube::Config {
        kube::Config::new(format!("http://{}", self.server().await.address).parse().unwrap())
    }

    /// Returns the Deployment's pods that are ready and not terminating.
    pub(crate) async fn ready(&self) -> Vec<String> {
        let pods = pods(&*self.server().await).into_iter();
        pods.filter(|pod| pod.ready && !pod.stopping).map(|pod| pod.name).collect()
    }

    /// Stops the controller, so that changes have no effect from now on.
    pub(crate) fn stop_controller(&self) {
        self.controller.abort();
    }

    /// Returns the requests except lists, watches and reads: method, path, type and body.
    pub(crate) async fn changes(&self) -> Vec<String> {
        let requests = self.server().await.requests().into_iter().filter(|request| request.method != "GET");
        requests
            .map(|request| {
                let kind = request.content_type.unwrap_or_default();
                format!("{} {} {kind} {}", request.method, request.path, request.body)
            })
            .collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.controller.abort();
    }
}

/// Runs the controller step by step towards the desired state.
async fn control(server: Arc<Mutex<ApiServer>>) {
    let mut made = 0;
    loop {
        {
            let server = server.lock().await;
            step(&server, &mut made);
        }
        sleep(STEP).await;
    }
}

fn step(server: &ApiServer, made: &mut u32) {
    let mut deployment = server.get(DEPLOYMENTS, NAME).unwrap();
    let wanted = usize::try_from(deployment["spec"]["replicas"].as_i64().unwrap()).unwrap();
    let generation = deployment["metadata"]["generation"].as_i64().unwrap();
    let restarted = deployment["spec"]["template"]["metadata"]["annotations"].is_object();
    let newest = i64::from(restarted);
    let pods = pods(server);
    let staying: Vec<_> = pods.iter().filter(|pod| !pod.stopping).collect();
    let new = staying.iter().filter(|pod| pod.generation == newest).count();
    let ready = staying.iter().filter(|pod| pod.ready).count();
    let old = staying.iter().find(|pod| pod.generation != newest);

    if let Some(gone) = pods.iter().find(|pod| pod.stopping) {
        server.delete(PODS, &gone.name);
    } else if let Some(starting) = staying.iter().find(|pod| !pod.ready) {
        let mut object = starting.object.clone();
        object["status"]["conditions"][0]["status"] = "True".into();
        server.put(PODS, object);
    } else if new < wanted && staying.len() <= wanted {
        *made += 1;
        server.put(PODS, pod(&format!("{NAME}-{made}"), "grpc", newest, false));
    } else if let Some(leaving) = old.or(staying.last()).filter(|_| ready > wanted) {
        let mut object = leaving.object.clone();
        object["metadata"]["deletionTimestamp"] = "2026-11-20T10:00:00Z".into();
        server.put(PODS, object);
    }
    let status = json!({
        "observedGeneration": generation, "replicas": staying.len(), "updatedReplicas": new,
        "readyReplicas": ready, "availableReplicas": ready
    });
    if deployment["status"] != status {
        deployment["status"] = status;
        server.put(DEPLOYMENTS, deployment);
    }
}

/// Returns the Deployment's pods, oldest first.
fn pods(server: &ApiServer) -> Vec<Pod> {
    let mut all: Vec<_> =
        server.all(PODS).into_iter().filter(|pod| pod["metadata"]["labels"]["tier"] == "grpc").collect();
    let number =
        |pod: &Value| pod["metadata"]["name"].as_str().unwrap().rsplit('-').next().unwrap().parse::<u32>();
    all.sort_by_key(|pod| number(pod).unwrap());
    all.into_iter()
        .map(|object| Pod {
            name: object["metadata"]["name"].as_str().unwrap().to_owned(),
            generation: object["metadata"]["labels"]["generation"].as_str().unwrap().parse().unwrap(),
            ready: object["status"]["conditions"][0]["status"] == "True",
            stopping: object["metadata"]["deletionTimestamp"].is_string(),
            object,
        })
        .collect()
}

fn pod(name: &str, tier: &str, generation: i64, ready: bool) -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {
            "name": name, "namespace": "default", "creationTimestamp": "2026-11-20T10:00:00Z",
            "labels": {"app": "hello", "tier": tier, "generation": generation.to_string()}
        },
        "spec": {"containers": [{"name": NAME, "image": "kubetester/hellogrpc:v1"}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]
        }
    })
}
