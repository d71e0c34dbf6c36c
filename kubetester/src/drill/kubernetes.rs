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
    event_log::{EventLog, What},
    platform::{Aim, Conduct, Platform, Trouble},
};
use crate::target::{Endpoint, Target};

/// The maximum time for the pods to reach a desired state.
const WITHIN: Duration = Duration::from_secs(300);
/// The interval between checks of the state if no pod changes.
const LOOK_EVERY: Duration = Duration::from_millis(500);
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
pub struct Place {
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
    pub async fn find(place: Place) -> Result<Self, Trouble> {
        let Place { deployment, namespace, context } = place;
        Self::new(Cluster::find(context, namespace, deployment).await?).await
    }

    /// Uses the given API server, for tests.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find).
    pub async fn at(config: kube::Config, deployment: &str) -> Result<Self, Trouble> {
        Self::new(Cluster::new(config, None, deployment.to_owned())?).await
    }

    async fn new(cluster: Cluster) -> Result<Self, Trouble> {
        let spec = cluster.deployment().await?.spec;
        let selector = spec.selector.try_into();
        let selector =
            selector.map_err(|error| Trouble::new("the Deployment's selector cannot be used", error))?;
        Ok(Self { cluster, selector, replicas: spec.replicas, scaled: false, pods: Pods::default() })
    }

    /// Lists the existing pods, so that only later changes are recorded.
    async fn look(&mut self) -> Result<(), Trouble> {
        let list = self.cluster.list(&self.selector).await?;
        self.pods.list(&list.items, None);
        Ok(())
    }

    /// Watches the pods until they reach the desired state, and records their events.
    async fn follow(&mut self, until: Until, journal: &EventLog) -> Result<(), Trouble> {
        let deadline = Instant::now() + WITHIN;
        'list: loop {
            let list = self.cluster.list(&self.selector).await?;
            self.pods.list(&list.items, Some(journal));
            if reached(until, &self.cluster, &self.pods).await? {
                return Ok(());
            }
            let version = list.metadata.resource_version.unwrap_or_default();
            let mut events = self.cluster.watch(&self.selector, &version).await?;
            loop {
                if Instant::now() >= deadline {
                    return Err(self.late(until));
                }
                let look = Instant::now() + LOOK_EVERY;
                match timeout_at(look, events.next()).await {
                    Ok(Some(Ok(WatchEvent::Added(pod) | WatchEvent::Modified(pod)))) => {
                        self.pods.see(&pod, Some(journal));
                    }
                    Ok(Some(Ok(WatchEvent::Deleted(pod)))) => {
                        self.pods.gone(&pod.metadata.name.unwrap_or_default(), Some(journal));
                    }
                    Ok(Some(Ok(WatchEvent::Bookmark(_)))) | Err(_) => {}
                    Ok(Some(Err(error))) => {
                        self.cluster.watch_broke(&error)?;
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
            sleep(LOOK_EVERY).await;
        }
    }

    fn late(&self, until: Until) -> Trouble {
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
        Trouble(format!("{problem} after {WITHIN:?}; 'kubectl -n {namespace} describe pods' says why"))
    }
}

/// Returns whether the pods have reached the desired state.
async fn reached(until: Until, cluster: &Cluster, pods: &Pods) -> Result<bool, Trouble> {
    match until {
        Until::Ready(wanted) => Ok(pods.ready().count() >= wanted),
        Until::Exactly(wanted) => Ok(pods.ready().count() == wanted && pods.staying() == wanted),
        Until::RolledOut(generation) => {
            let deployment = cluster.deployment().await?;
            let over = objects::rolled_out(&deployment, generation);
            over.map_err(|said| Trouble::new("the rollout was given up by its controller", said))
        }
    }
}

fn many(replicas: i32) -> usize {
    usize::try_from(replicas).unwrap_or_default()
}

fn cannot(what: &str) -> Trouble {
    Trouble(format!(
        "{what} cannot be done through the API server; on kubernetes there are restart, scale and kill"
    ))
}

#[async_trait]
impl Platform for Kubernetes {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    async fn target(&mut self, aim: &Aim) -> Result<Target, Trouble> {
        let namespace = &self.cluster.namespace;
        match aim {
            Aim::Target(target) => Ok(target.clone()),
            Aim::Gateway(path) if api::inside() => Ok(Target::Http(Endpoint {
                host: format!("{GATEWAY}.{namespace}"),
                port: 80,
                path: path.clone(),
                tls: false,
            })),
            Aim::Gateway(path) => Err(Trouble(format!(
                "from outside the cluster the gateway has no name: say --target http://…{path} with an address of its \
                 Service, or run 'kubectl -n {namespace} port-forward service/{GATEWAY} 8200:80' and say --target \
                 http://127.0.0.1:8200{path}"
            ))),
            Aim::Direct | Aim::Tonic => Err(Trouble(
                "which Service has the pods is not known here: say --target with it, such as dns:///grpc-svc:8000"
                    .to_owned(),
            )),
        }
    }

    async fn pods(&mut self) -> Result<Vec<String>, Trouble> {
        self.look().await?;
        Ok(self.pods.ready().cloned().collect())
    }

    /// The controller creates a replacement immediately, so the pods are watched from here on.
    async fn kill(&mut self, pod: &str, journal: &EventLog) -> Result<(), Trouble> {
        self.look().await?;
        self.cluster.delete(pod).await?;
        journal.note(What::Killed, pod);
        self.pods.forget(pod);
        self.follow(Until::Ready(many(self.replicas)), journal).await
    }

    /// It has been.
    async fn revive(&mut self, _pod: &str, _journal: &EventLog) -> Result<(), Trouble> {
        Ok(())
    }

    async fn freeze(&mut self, _pod: &str, _journal: &EventLog) -> Result<(), Trouble> {
        Err(cannot("freeze"))
    }

    async fn thaw(&mut self, _pod: &str, _journal: &EventLog) -> Result<(), Trouble> {
        Err(cannot("freeze"))
    }

    async fn scale(&mut self, pods: u16, journal: &EventLog) -> Result<(), Trouble> {
        self.look().await?;
        // Set even if the request fails, because the API server may have processed it.
        self.scaled = true;
        self.cluster.scale(pods.into()).await?;
        self.follow(Until::Exactly(pods.into()), journal).await
    }

    async fn restart(&mut self, journal: &EventLog) -> Result<(), Trouble> {
        self.look().await?;
        let generation = self.cluster.restart().await?;
        self.follow(Until::RolledOut(generation), journal).await
    }

    async fn dns(&mut self, _conduct: Conduct, _journal: &EventLog) -> Result<(), Trouble> {
        Err(cannot("dns-outage"))
    }

    /// Restores the number of replicas. The controller replaces killed pods and completes a restart by itself.
    async fn put_back(&mut self) -> Result<(), Trouble> {
        if !self.scaled {
            return Ok(());
        }
        let Cluster { namespace, deployment, .. } = &self.cluster;
        let replicas = self.replicas;
        self.cluster.scale(replicas).await.map_err(|Trouble(why)| {
            Trouble(format!(
                "{deployment} was left with another number of pods ({why}); 'kubectl -n {namespace} scale \
                 deployment/{deployment} --replicas={replicas}' puts it right"
            ))
        })?;
        self.scaled = false;
        Ok(())
    }
}
