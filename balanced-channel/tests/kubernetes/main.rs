//! The channel with `kubernetes:///` targets, against an API server that sends real responses, and real backends.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[path = "../backend/mod.rs"]
mod backend;
mod endpoints;
mod failures;
mod rejections;
mod tls;
mod zones;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use backend::{Backend, call, ready, until};
use balanced_channel::{Builder, Channel, ChannelSnapshot};
use serde_json::Value;
use service::testing::api_server::{ApiServer, Slice};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// An API server, and the backends that it may list.
struct Cluster {
    api: ApiServer,
    backends: Vec<Backend>,
    /// The directory of the kubeconfig.
    folder: TempDir,
}

/// Makes calls without a pause until it is stopped.
struct Caller {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    calling: JoinHandle<Vec<String>>,
}

// === impl Cluster ===

impl Cluster {
    /// Starts backends at these addresses and one port, without listing them.
    async fn new(ips: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cluster = Self { api: ApiServer::start().await, backends: Backend::at_one_port(ips), folder };
        cluster.give_token("first");
        cluster
    }

    /// Starts and lists the backends in one slice, and connects a channel to all of them.
    async fn working(ips: &[&str]) -> (Self, Channel) {
        let cluster = Self::new(ips).await;
        cluster.list("svc-a", 0..ips.len());
        let channel = cluster.channel("grpc");
        ready(&channel, ips.len()).await;
        cluster.api.wait_for_watches(1).await;
        (cluster, channel)
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    /// Writes a kubeconfig with this token.
    fn give_token(&self, token: &str) {
        std::fs::write(self.kubeconfig(), self.api.kubeconfig(token)).unwrap();
    }

    fn builder(&self, port: &str) -> Builder {
        Channel::builder(format!("kubernetes:///svc:{port}")).kubeconfig(self.kubeconfig())
    }

    fn channel(&self, port: &str) -> Channel {
        self.builder(port).build().unwrap()
    }

    fn port(&self) -> u16 {
        self.backends[0].address.port()
    }

    /// Returns the pod of a backend.
    fn pod(&self, number: usize) -> Value {
        Slice::pod(&format!("svc-{number}"), &self.backends[number].address.ip().to_string())
    }

    fn slice(&self, name: &str, pods: impl IntoIterator<Item = Value>) -> Slice {
        Slice::new(name, "svc", self.port(), pods)
    }

    /// Sets the pods of a slice to those of these backends.
    fn list(&self, slice: &str, backends: impl IntoIterator<Item = usize>) {
        let pods: Vec<_> = backends.into_iter().map(|number| self.pod(number)).collect();
        self.api.put_slice(&self.slice(slice, pods));
    }
}

// === impl Caller ===

impl Caller {
    fn start(channel: &Channel) -> Self {
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted, channel) = (stop.clone(), made.clone(), channel.clone());
        let calling = tokio::spawn(async move {
            let mut failures = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                if let Err(status) = call(&channel, "").await {
                    failures.push(status.to_string());
                }
                counted.fetch_add(1, Ordering::Relaxed);
            }
            failures
        });
        Self { stop, made, calling }
    }

    /// Waits until `count` more calls have been made.
    async fn calls(&self, count: u64) {
        let enough = self.made.load(Ordering::Relaxed) + count;
        until("calls", || (self.made.load(Ordering::Relaxed) >= enough).then_some(())).await;
    }

    /// Stops, and returns the errors of failed calls.
    async fn failures(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.calling.await.unwrap()
    }
}

/// Waits until the resolver has found `count` endpoints.
async fn found(channel: &Channel, count: usize) {
    until(&format!("{count} endpoints"), || {
        (channel.snapshot().resolver.endpoints == Some(count)).then_some(())
    })
    .await;
}

/// Waits until the resolver has an error that contains `words`, and returns the error.
async fn resolver_error(channel: &Channel, words: &str) -> String {
    until(words, || channel.snapshot().resolver.error.filter(|error| error.contains(words))).await
}

/// Waits until the resolver has no error.
async fn content(channel: &Channel) -> ChannelSnapshot {
    until("the recovery", || {
        let snapshot = channel.snapshot();
        snapshot.resolver.error.is_none().then_some(snapshot)
    })
    .await
}

/// Returns the names of the READY subchannels.
fn names(channel: &Channel) -> Vec<String> {
    let snapshot = channel.snapshot();
    snapshot.subchannels.into_iter().map(|subchannel| subchannel.name.unwrap_or_default()).collect()
}
