//! A Deployment in a cluster as the platform of a drill, changed through the API server like kubectl does.
//!
//! Pods are watched, so that events have the time at which the API server reported a pod as ready or terminating. The
//! timestamps in the pods' conditions are whole seconds, which is too coarse.

mod api;
mod objects;
mod pods;

use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use kube::{api::WatchEvent, core::Selector};
use tokio::time::{Instant, sleep, timeout_at};

use self::{api::Cluster, pods::Pods};
use super::{
    event_log::{EventKind, EventLog},
    platform::{DrillTarget, Platform, PlatformError, ResponseMode},
};
use crate::target::{Endpoint, Target};

/// The maximum time for the pods to reach a desired state.
const CONVERGENCE_TIMEOUT: Duration = Duration::from_secs(300);
/// The interval between checks of the state if no pod changes.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The gateway's Service.
const GATEWAY: &str = "serve-svc";

/// A Deployment in a cluster.
pub struct Kubernetes {
    cluster: Cluster,
    selector: Selector,
    /// The number of replicas before the drill.
    replicas: i32,
    /// True if the drill has changed the number of replicas.
    scaled: bool,
    pods: Pods,
}

/// The Deployment to drill.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "On Kubernetes")]
pub struct DeploymentOptions {
    /// The Deployment whose pods are changed
    #[arg(long, value_name = "NAME", default_value = "hellogrpc")]
    pub deployment: String,

    /// Its namespace [default: that of the context, or of the pod]
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,

    /// The context of the kubeconfig [default: the current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// A state to wait for.
#[derive(Debug, Clone, Copy)]
enum Until {
    /// At least this number of pods is ready.
    Ready(usize),
    /// Exactly this number of pods is ready, and all others are terminating.
    Exactly(usize),
    /// All pods are of this generation, and available.
    RolledOut(i64),
}

// === impl Kubernetes ===

impl Kubernetes {
    /// Finds the cluster and the Deployment.
    ///
    /// # Errors
    ///
    /// Fails if the Deployment does not exist or must not be read.
    pub async fn find(options: DeploymentOptions) -> Result<Self, PlatformError> {
        let DeploymentOptions { deployment, namespace, context } = options;
        Self::new(Cluster::find(context, namespace, deployment).await?).await
    }

    /// Uses the given API server, for tests.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find).
    pub async fn at(config: kube::Config, deployment: &str) -> Result<Self, PlatformError> {
        Self::new(Cluster::new(config, None, deployment.to_owned())?).await
    }

    async fn new(cluster: Cluster) -> Result<Self, PlatformError> {
        let spec = cluster.deployment().await?.spec;
        let selector = spec.selector.try_into();
        let selector = selector
            .map_err(|error| PlatformError::new("the Deployment's selector cannot be used", error))?;
        Ok(Self { cluster, selector, replicas: spec.replicas, scaled: false, pods: Pods::default() })
    }

    /// Lists the existing pods, so that only later changes are recorded.
    async fn list_pods(&mut self) -> Result<(), PlatformError> {
        let list = self.cluster.list(&self.selector).await?;
        self.pods.list(&list.items, None);
        Ok(())
    }

    /// Watches the pods until they reach the desired state, and records their events.
    async fn follow(&mut self, until: Until, event_log: &EventLog) -> Result<(), PlatformError> {
        let deadline = Instant::now() + CONVERGENCE_TIMEOUT;
        'list: loop {
            let list = self.cluster.list(&self.selector).await?;
            self.pods.list(&list.items, Some(event_log));
            if reached(until, &self.cluster, &self.pods).await? {
                return Ok(());
            }
            let version = list.metadata.resource_version.unwrap_or_default();
            let mut events = self.cluster.watch(&self.selector, &version).await?;
            loop {
                if Instant::now() >= deadline {
                    return Err(self.timeout_error(until));
                }
                let next_check = Instant::now() + POLL_INTERVAL;
                match timeout_at(next_check, events.next()).await {
                    Ok(Some(Ok(WatchEvent::Added(pod) | WatchEvent::Modified(pod)))) => {
                        self.pods.update(&pod, Some(event_log));
                    }
                    Ok(Some(Ok(WatchEvent::Deleted(pod)))) => {
                        self.pods.remove(&pod.metadata.name.unwrap_or_default(), Some(event_log));
                    }
                    Ok(Some(Ok(WatchEvent::Bookmark(_)))) | Err(_) => {}
                    Ok(Some(Err(error))) => {
                        self.cluster.check_watch_error(&error)?;
                        break;
                    }
                    // The watch ended or has expired; a new list has the missed changes.
                    Ok(Some(Ok(WatchEvent::Error(_))) | None) => break,
                }
                // The watch may lag behind if the API server was unavailable, so the list decides.
                if reached(until, &self.cluster, &self.pods).await? {
                    continue 'list;
                }
            }
            drop(events);
            sleep(POLL_INTERVAL).await;
        }
    }

    fn timeout_error(&self, until: Until) -> PlatformError {
        let Cluster { namespace, deployment, .. } = &self.cluster;
        let ready = self.pods.ready().count();
        let problem = match until {
            Until::Ready(pods) | Until::Exactly(pods) => {
                format!("{deployment} has {ready} of {pods} pods ready")
            }
            Until::RolledOut(_) => {
                format!("the rollout of {deployment} has not ended ({ready} pods are ready)")
            }
        };
        PlatformError(format!(
            "{problem} after {CONVERGENCE_TIMEOUT:?}; 'kubectl -n {namespace} describe pods' says why"
        ))
    }
}

/// Returns whether the pods have reached the desired state.
async fn reached(until: Until, cluster: &Cluster, pods: &Pods) -> Result<bool, PlatformError> {
    match until {
        Until::Ready(wanted) => Ok(pods.ready().count() >= wanted),
        Until::Exactly(wanted) => Ok(pods.ready().count() == wanted && pods.not_terminating() == wanted),
        Until::RolledOut(generation) => {
            let deployment = cluster.deployment().await?;
            let over = objects::rolled_out(&deployment, generation);
            over.map_err(|message| PlatformError::new("the rollout was given up by its controller", message))
        }
    }
}

fn pod_count(replicas: i32) -> usize {
    usize::try_from(replicas).unwrap_or_default()
}

fn unsupported(what: &str) -> PlatformError {
    PlatformError(format!(
        "{what} cannot be done through the API server; on kubernetes there are restart, scale and kill"
    ))
}

#[async_trait]
impl Platform for Kubernetes {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    async fn target(&mut self, drill_target: &DrillTarget) -> Result<Target, PlatformError> {
        let namespace = &self.cluster.namespace;
        match drill_target {
            DrillTarget::Target(target) => Ok(target.clone()),
            DrillTarget::Gateway(path) if api::in_cluster() => Ok(Target::Http(Endpoint {
                host: format!("{GATEWAY}.{namespace}"),
                port: 80,
                path: path.clone(),
                tls: false,
            })),
            DrillTarget::Gateway(path) => Err(PlatformError(format!(
                "from outside the cluster the gateway has no name: give --target http://…{path} with an address of its \
                 Service, or run 'kubectl -n {namespace} port-forward service/{GATEWAY} 8200:80' and give --target \
                 http://127.0.0.1:8200{path}"
            ))),
            DrillTarget::Direct | DrillTarget::Tonic => Err(PlatformError(
                "the Service of the pods is not known here: give it with --target, such as dns:///grpc-svc:8000"
                    .to_owned(),
            )),
        }
    }

    async fn pods(&mut self) -> Result<Vec<String>, PlatformError> {
        self.list_pods().await?;
        Ok(self.pods.ready().cloned().collect())
    }

    /// The controller creates a replacement immediately, so the pods are watched from here on.
    async fn kill(&mut self, pod: &str, event_log: &EventLog) -> Result<(), PlatformError> {
        self.list_pods().await?;
        self.cluster.delete(pod).await?;
        event_log.record(EventKind::Killed, pod);
        self.pods.forget(pod);
        self.follow(Until::Ready(pod_count(self.replicas)), event_log).await
    }

    /// Does nothing: the controller has already created a replacement.
    async fn revive(&mut self, _pod: &str, _event_log: &EventLog) -> Result<(), PlatformError> {
        Ok(())
    }

    async fn freeze(&mut self, _pod: &str, _event_log: &EventLog) -> Result<(), PlatformError> {
        Err(unsupported("freeze"))
    }

    async fn thaw(&mut self, _pod: &str, _event_log: &EventLog) -> Result<(), PlatformError> {
        Err(unsupported("freeze"))
    }

    async fn scale(&mut self, pods: u16, event_log: &EventLog) -> Result<(), PlatformError> {
        self.list_pods().await?;
        // Set even if the request fails, because the API server may have processed it.
        self.scaled = true;
        self.cluster.scale(pods.into()).await?;
        self.follow(Until::Exactly(pods.into()), event_log).await
    }

    async fn restart(&mut self, event_log: &EventLog) -> Result<(), PlatformError> {
        self.list_pods().await?;
        let generation = self.cluster.restart().await?;
        self.follow(Until::RolledOut(generation), event_log).await
    }

    async fn set_dns_mode(
        &mut self,
        _response_mode: ResponseMode,
        _event_log: &EventLog,
    ) -> Result<(), PlatformError> {
        Err(unsupported("dns-outage"))
    }

    /// Restores the number of replicas. The controller replaces killed pods and completes a restart by itself.
    async fn restore(&mut self) -> Result<(), PlatformError> {
        if !self.scaled {
            return Ok(());
        }
        let Cluster { namespace, deployment, .. } = &self.cluster;
        let replicas = self.replicas;
        self.cluster.scale(replicas).await.map_err(|PlatformError(why)| {
            PlatformError(format!(
                "{deployment} was left with another number of pods ({why}); 'kubectl -n {namespace} scale \
                 deployment/{deployment} --replicas={replicas}' restores it"
            ))
        })?;
        self.scaled = false;
        Ok(())
    }
}
