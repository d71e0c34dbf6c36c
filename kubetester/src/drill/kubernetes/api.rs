//! The API server: what a drill asks of it, how long it is waited for, and what each of its refusals means.

use std::{env, fmt, future::Future, time::Duration};

use balanced_channel::{describe_plugin_error, kubeconfig, without_proxy};
use futures_util::stream::{BoxStream, StreamExt};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, ListParams, Patch, PatchParams, WatchEvent, WatchParams},
    config::KubeConfigOptions,
    core::{ObjectList, Selector},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::objects::{self, Deployment, Pod};
use crate::{drill::platform::Trouble, transport::cause};

/// The time that one request may take.
const REQUEST: Duration = Duration::from_secs(10);
/// The time that the API server may be away.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts.
const RETRY: Duration = Duration::from_millis(500);
/// The time that a watch lasts before the API server ends it, in seconds; it is then begun again.
const WATCH: u32 = 240;
/// The variable that every pod of a cluster has in its environment.
const INSIDE: &str = "KUBERNETES_SERVICE_HOST";

/// A Deployment, its pods, and the API server that has them.
pub(super) struct Cluster {
    /// The namespace of the objects.
    pub(super) namespace: String,
    /// The Deployment's name.
    pub(super) deployment: String,
    server: String,
    deployments: Api<Deployment>,
    pods: Api<Pod>,
}

/// A request, as RBAC sees it.
#[derive(Debug, Clone, Copy)]
struct Request {
    verb: &'static str,
    resource: &'static str,
    group: &'static str,
}

/// Why a request was not granted.
enum Failure {
    /// The next attempt may do better.
    Passing(String),
    /// No attempt will.
    Final(Trouble),
}

const GET: Request = Request { verb: "get", resource: "deployments", group: "apps" };
const RESTART: Request = Request { verb: "patch", resource: "deployments", group: "apps" };
const SCALE: Request = Request { verb: "patch", resource: "deployments/scale", group: "apps" };
const LIST: Request = Request { verb: "list", resource: "pods", group: "" };
const FOLLOW: Request = Request { verb: "watch", resource: "pods", group: "" };
const DELETE: Request = Request { verb: "delete", resource: "pods", group: "" };

/// Returns whether this program runs in a pod.
pub(super) fn inside() -> bool {
    env::var_os(INSIDE).is_some()
}

// === impl Cluster ===

impl Cluster {
    /// Finds the API server as kubectl does: by `KUBECONFIG` or `~/.kube/config`, or else by the pod's own account.
    ///
    /// # Errors
    ///
    /// Fails if neither exists, or if it cannot be used.
    pub(super) async fn find(
        context: Option<String>,
        namespace: Option<String>,
        deployment: String,
    ) -> Result<Self, Trouble> {
        let named = context.is_some();
        let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
        let config = match kubeconfig() {
            Ok(file) => Config::from_custom_kubeconfig(file, &options).await,
            Err(error) => Err(error),
        };
        let config = match config {
            Ok(config) => config,
            Err(error) if named => {
                return Err(Trouble::new("the kubeconfig cannot be used", cause::root(&error)));
            }
            Err(error) => Config::incluster().map_err(|_| {
                let none = "no cluster is configured, neither by a kubeconfig (KUBECONFIG, ~/.kube/config) nor by the \
                            account of a pod";
                Trouble::new(none, cause::root(&error))
            })?,
        };
        Self::new(config, namespace, deployment)
    }

    /// The Deployment at the API server of `config`, in the namespace that it has unless another is given.
    ///
    /// # Errors
    ///
    /// Fails if the credentials of `config` cannot be used.
    pub(super) fn new(
        config: Config,
        namespace: Option<String>,
        deployment: String,
    ) -> Result<Self, Trouble> {
        let server = config.cluster_url.to_string();
        let mut config = without_proxy(config).map_err(|problem| {
            Trouble::new(format_args!("the API server {server} cannot be called"), problem)
        })?;
        config.connect_timeout = Some(REQUEST / 2);
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let plugin = config.auth_info.exec.clone();
        let client = Client::try_from(config).map_err(|error| {
            let problem = describe_plugin_error(&error, plugin.as_ref());
            let problem = problem.unwrap_or_else(|| error.to_string());
            Trouble::new(format_args!("the API server {server} cannot be called"), problem)
        })?;
        Ok(Self {
            deployments: Api::namespaced_with(client.clone(), &namespace, &objects::deployments()),
            pods: Api::namespaced_with(client, &namespace, &objects::pods()),
            server: server.trim_end_matches('/').to_owned(),
            namespace,
            deployment,
        })
    }

    /// The Deployment as it is now.
    pub(super) async fn deployment(&self) -> Result<Deployment, Trouble> {
        self.persist(GET, || self.deployments.get(&self.deployment)).await
    }

    /// Asks for other pods, as `kubectl rollout restart` does: by an annotation of the pods' template. Returns the
    /// generation that has it.
    pub(super) async fn restart(&self) -> Result<i64, Trouble> {
        let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
        let annotations = json!({"kubectl.kubernetes.io/restartedAt": now});
        let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
        let restarted = self.persist(RESTART, || self.patch(&patch)).await?;
        Ok(restarted.metadata.generation.unwrap_or_default())
    }

    /// Asks for so many pods, as `kubectl scale` does.
    pub(super) async fn scale(&self, replicas: i32) -> Result<(), Trouble> {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let parameters = PatchParams::default();
        let scale =
            || async { self.deployments.patch_scale(&self.deployment, &parameters, &patch).await.map(drop) };
        self.persist(SCALE, scale).await
    }

    /// Ends a pod without grace, as `kubectl delete --force --grace-period=0` does.
    pub(super) async fn delete(&self, pod: &str) -> Result<(), Trouble> {
        let parameters = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        let delete = || async {
            match self.pods.delete(pod, &parameters).await {
                // The attempt before, which was not answered, was heard.
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                deleted => deleted.map(drop),
            }
        };
        self.persist(DELETE, delete).await
    }

    /// The pods now.
    pub(super) async fn list(&self, selector: &Selector) -> Result<ObjectList<Pod>, Trouble> {
        let parameters = ListParams::default().labels_from(selector);
        self.persist(LIST, || self.pods.list(&parameters)).await
    }

    /// Watches the pods from `version` on. When the watch ends, for any of many reasons, a new list is needed.
    pub(super) async fn watch(
        &self,
        selector: &Selector,
        version: &str,
    ) -> Result<BoxStream<'_, kube::Result<WatchEvent<Pod>>>, Trouble> {
        let parameters = WatchParams::default().labels_from(selector).timeout(WATCH);
        let watch = || async { self.pods.watch(&parameters, version).await.map(StreamExt::boxed) };
        self.persist(FOLLOW, watch).await
    }

    /// Classifies the error of a watch; the API server also reports a refusal as one.
    ///
    /// # Errors
    ///
    /// Fails if the error is final: another watch would end in the same way.
    pub(super) fn watch_broke(&self, error: &kube::Error) -> Result<(), Trouble> {
        match self.failure(FOLLOW, error) {
            Failure::Final(trouble) => Err(trouble),
            Failure::Passing(_) => Ok(()),
        }
    }

    async fn patch(&self, patch: &Value) -> kube::Result<Deployment> {
        self.deployments.patch(&self.deployment, &PatchParams::default(), &Patch::Merge(patch)).await
    }

    /// Tries until the API server has answered, or was away for too long.
    async fn persist<T, F>(&self, request: Request, attempt: impl Fn() -> F) -> Result<T, Trouble>
    where
        F: Future<Output = kube::Result<T>>,
    {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let why = match timeout(REQUEST, attempt()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => match self.failure(request, &error) {
                    Failure::Final(trouble) => return Err(trouble),
                    Failure::Passing(why) => why,
                },
                Err(_) => format!("no answer within {REQUEST:?}"),
            };
            if Instant::now() >= deadline {
                let server = &self.server;
                let what = format_args!("the API server {server} did not {request} for {PATIENCE:?}");
                return Err(Trouble::new(what, why));
            }
            sleep(RETRY).await;
        }
    }

    fn failure(&self, request: Request, error: &kube::Error) -> Failure {
        let Self { namespace, deployment, server, .. } = self;
        let kube::Error::Api(status) = error else { return Failure::Passing(cause::root(error)) };
        let said = &status.message;
        Failure::Final(Trouble(match status.code {
            401 => format!(
                "the API server {server} does not know who you are: are your credentials too old? ({said})"
            ),
            403 => format!(
                "you may not {request} in the namespace {namespace}; it takes a Role with the verb {verb:?} on \
                 {resource:?} of the API group {group:?}, such as that in kubeyamls/optional/drill-job.yaml ({said})",
                verb = request.verb,
                resource = request.resource,
                group = request.group,
            ),
            404 if request.group == "apps" => format!(
                "there is no Deployment {deployment} in the namespace {namespace}; --deployment and --namespace say \
                 which one is meant ({said})"
            ),
            // Too many requests, and the server's own troubles. 410: what is watched is too old.
            410 | 429 | 500.. => return Failure::Passing(said.clone()),
            code => format!("the API server {server} would not {request}: {code} {said}"),
        }))
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)
    }
}
