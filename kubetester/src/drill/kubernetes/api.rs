//! Requests to the API server, with retries and an explanation of each error.

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
use crate::{drill::platform::PlatformError, transport::cause};

/// The timeout of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum time that a request is retried while the API server is unavailable.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);
/// The interval between attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// The time after which the API server ends a watch, in seconds. A new watch is then started.
const WATCH_TIMEOUT_SECONDS: u32 = 240;
/// The environment variable that is set in every pod of a cluster.
const IN_CLUSTER_VARIABLE: &str = "KUBERNETES_SERVICE_HOST";

/// A client of the API server for one Deployment and its pods.
pub(super) struct Cluster {
    /// The namespace of the objects.
    pub(super) namespace: String,
    /// The Deployment's name.
    pub(super) deployment: String,
    server: String,
    deployments: Api<Deployment>,
    pods: Api<Pod>,
}

/// A request in the terms of RBAC.
#[derive(Debug, Clone, Copy)]
struct Request {
    verb: &'static str,
    resource: &'static str,
    group: &'static str,
}

/// The error of a request.
enum RequestError {
    /// A retry may succeed.
    Transient(String),
    /// No retry can succeed.
    Permanent(PlatformError),
}

const GET: Request = Request { verb: "get", resource: "deployments", group: "apps" };
const RESTART: Request = Request { verb: "patch", resource: "deployments", group: "apps" };
const SCALE: Request = Request { verb: "patch", resource: "deployments/scale", group: "apps" };
const LIST: Request = Request { verb: "list", resource: "pods", group: "" };
const WATCH: Request = Request { verb: "watch", resource: "pods", group: "" };
const DELETE: Request = Request { verb: "delete", resource: "pods", group: "" };

/// Returns whether this program runs in a pod.
pub(super) fn in_cluster() -> bool {
    env::var_os(IN_CLUSTER_VARIABLE).is_some()
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
    ) -> Result<Self, PlatformError> {
        let named = context.is_some();
        let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
        let config = match kubeconfig() {
            Ok(file) => Config::from_custom_kubeconfig(file, &options).await,
            Err(error) => Err(error),
        };
        let config = match config {
            Ok(config) => config,
            Err(error) if named => {
                return Err(PlatformError::new("the kubeconfig cannot be used", cause::root(&error)));
            }
            Err(error) => Config::incluster().map_err(|_| {
                let none = "no cluster is configured, neither by a kubeconfig (KUBECONFIG, ~/.kube/config) nor by the \
                            account of a pod";
                PlatformError::new(none, cause::root(&error))
            })?,
        };
        Self::new(config, namespace, deployment)
    }

    /// Creates a client with `config`. Without a `namespace`, uses the namespace of `config`.
    ///
    /// # Errors
    ///
    /// Fails if the credentials of `config` cannot be used.
    pub(super) fn new(
        config: Config,
        namespace: Option<String>,
        deployment: String,
    ) -> Result<Self, PlatformError> {
        let server = config.cluster_url.to_string();
        let mut config = without_proxy(config).map_err(|problem| {
            PlatformError::new(format_args!("the API server {server} cannot be called"), problem)
        })?;
        config.connect_timeout = Some(REQUEST_TIMEOUT / 2);
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let plugin = config.auth_info.exec.clone();
        let client = Client::try_from(config).map_err(|error| {
            let problem = describe_plugin_error(&error, plugin.as_ref());
            let problem = problem.unwrap_or_else(|| error.to_string());
            PlatformError::new(format_args!("the API server {server} cannot be called"), problem)
        })?;
        Ok(Self {
            deployments: Api::namespaced_with(client.clone(), &namespace, &objects::deployments()),
            pods: Api::namespaced_with(client, &namespace, &objects::pods()),
            server: server.trim_end_matches('/').to_owned(),
            namespace,
            deployment,
        })
    }

    /// Returns the Deployment's current state.
    pub(super) async fn deployment(&self) -> Result<Deployment, PlatformError> {
        self.with_retries(GET, || self.deployments.get(&self.deployment)).await
    }

    /// Restarts the Deployment as `kubectl rollout restart` does, with an annotation of the pod template. Returns the new
    /// generation.
    pub(super) async fn restart(&self) -> Result<i64, PlatformError> {
        let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
        let annotations = json!({"kubectl.kubernetes.io/restartedAt": now});
        let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
        let restarted = self.with_retries(RESTART, || self.patch(&patch)).await?;
        Ok(restarted.metadata.generation.unwrap_or_default())
    }

    /// Sets the number of replicas, as `kubectl scale` does.
    pub(super) async fn scale(&self, replicas: i32) -> Result<(), PlatformError> {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let parameters = PatchParams::default();
        let scale =
            || async { self.deployments.patch_scale(&self.deployment, &parameters, &patch).await.map(drop) };
        self.with_retries(SCALE, scale).await
    }

    /// Deletes a pod without grace period, as `kubectl delete --force --grace-period=0` does.
    pub(super) async fn delete(&self, pod: &str) -> Result<(), PlatformError> {
        let parameters = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        let delete = || async {
            match self.pods.delete(pod, &parameters).await {
                // An earlier attempt without a response has succeeded.
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                deleted => deleted.map(drop),
            }
        };
        self.with_retries(DELETE, delete).await
    }

    /// Returns the current pods.
    pub(super) async fn list(&self, selector: &Selector) -> Result<ObjectList<Pod>, PlatformError> {
        let parameters = ListParams::default().labels_from(selector);
        self.with_retries(LIST, || self.pods.list(&parameters)).await
    }

    /// Watches the pods from `version` on. When the watch ends for any reason, a new list is needed.
    pub(super) async fn watch(
        &self,
        selector: &Selector,
        version: &str,
    ) -> Result<BoxStream<'_, kube::Result<WatchEvent<Pod>>>, PlatformError> {
        let parameters = WatchParams::default().labels_from(selector).timeout(WATCH_TIMEOUT_SECONDS);
        let watch = || async { self.pods.watch(&parameters, version).await.map(StreamExt::boxed) };
        self.with_retries(WATCH, watch).await
    }

    /// Classifies the error of a watch; the API server also reports a refusal as one.
    ///
    /// # Errors
    ///
    /// Fails if the error is final: another watch would end in the same way.
    pub(super) fn check_watch_error(&self, error: &kube::Error) -> Result<(), PlatformError> {
        match self.classify(WATCH, error) {
            RequestError::Permanent(error) => Err(error),
            RequestError::Transient(_) => Ok(()),
        }
    }

    async fn patch(&self, patch: &Value) -> kube::Result<Deployment> {
        self.deployments.patch(&self.deployment, &PatchParams::default(), &Patch::Merge(patch)).await
    }

    /// Retries until the API server responds or [`RETRY_TIMEOUT`] has passed.
    async fn with_retries<T, F>(&self, request: Request, attempt: impl Fn() -> F) -> Result<T, PlatformError>
    where
        F: Future<Output = kube::Result<T>>,
    {
        let deadline = Instant::now() + RETRY_TIMEOUT;
        loop {
            let why = match timeout(REQUEST_TIMEOUT, attempt()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => match self.classify(request, &error) {
                    RequestError::Permanent(error) => return Err(error),
                    RequestError::Transient(why) => why,
                },
                Err(_) => format!("no answer within {REQUEST_TIMEOUT:?}"),
            };
            if Instant::now() >= deadline {
                let server = &self.server;
                let what = format_args!("the API server {server} did not {request} for {RETRY_TIMEOUT:?}");
                return Err(PlatformError::new(what, why));
            }
            sleep(RETRY_INTERVAL).await;
        }
    }

    fn classify(&self, request: Request, error: &kube::Error) -> RequestError {
        let Self { namespace, deployment, server, .. } = self;
        let kube::Error::Api(status) = error else { return RequestError::Transient(cause::root(error)) };
        let message = &status.message;
        RequestError::Permanent(PlatformError(match status.code {
            401 => {
                format!("the API server {server} rejected the credentials; they may have expired ({message})")
            }
            403 => format!(
                "you may not {request} in the namespace {namespace}; it takes a Role with the verb {verb:?} on \
                 {resource:?} of the API group {group:?}, such as that in kubeyamls/optional/drill-job.yaml ({message})",
                verb = request.verb,
                resource = request.resource,
                group = request.group,
            ),
            404 if request.group == "apps" => format!(
                "there is no Deployment {deployment} in the namespace {namespace}; --deployment and --namespace say \
                 which one is meant ({message})"
            ),
            // 410: the resource version of the watch is too old. 429: too many requests.
            410 | 429 | 500.. => return RequestError::Transient(message.clone()),
            code => format!("the API server {server} would not {request}: {code} {message}"),
        }))
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)
    }
}
