//! A gateway on an ephemeral loopback port, scripted backends, and an HTTP client.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod client;
pub(crate) mod dns_server;
pub(crate) mod grpc_backend;
pub(crate) mod http_backend;

use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use balanced_channel::Target;
use helloserve::Config;
use service::testing::bounded;
use service::{Identity, Instance, Shutdown, Trigger};
use tokio::{net::TcpListener, task::JoinHandle};

/// The timeout of a hanging test; longer than any step of a test takes.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// A program that runs in this process. Dropping it shuts the program down.
pub(crate) struct InProcess {
    pub(crate) addr: SocketAddr,
    pub(crate) instance: Instance,
    trigger: Trigger,
    task: JoinHandle<()>,
}

/// Starts a gateway with the hostname `gw`: with the defaults, an upstream timeout that only a stalled backend exceeds, and
/// the changes by `set`.
pub(crate) async fn gateway(set: impl FnOnce(&mut Config)) -> InProcess {
    let mut config =
        Config { upstream_timeout: TEST_TIMEOUT, grpc_target: ipv4(refusing()), ..Config::default() };
    set(&mut config);
    running("v1-helloserve", "gw", |listener, instance| helloserve::serve(config, listener, instance)).await
}

/// Starts a program on an ephemeral port.
pub(crate) async fn running<F>(
    version: &str,
    hostname: &str,
    serve: impl FnOnce(TcpListener, Instance) -> F,
) -> InProcess
where
    F: Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    running_at((Ipv4Addr::LOCALHOST, 0).into(), version, hostname, serve).await
}

/// Starts a program on `addr`.
pub(crate) async fn running_at<F>(
    addr: SocketAddr,
    version: &str,
    hostname: &str,
    serve: impl FnOnce(TcpListener, Instance) -> F,
) -> InProcess
where
    F: Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let listener = TcpListener::bind(addr).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (trigger, shutdown) = Shutdown::new();
    let identity = Identity { version: version.to_owned(), hostname: hostname.to_owned() };
    let instance = Instance::new(identity, shutdown);
    let serving = serve(listener, instance.clone());
    let task = tokio::spawn(async move { serving.await.unwrap() });
    InProcess { addr, instance, trigger, task }
}

// === impl InProcess ===

impl InProcess {
    /// Shuts the program down as SIGTERM does, and waits for its end.
    pub(crate) async fn end(self) {
        self.trigger.close();
        bounded(self.task).await.unwrap();
    }
}

/// Returns the gRPC target for an address.
pub(crate) fn ipv4(addr: SocketAddr) -> Target {
    format!("ipv4:{addr}").parse().unwrap()
}

/// Returns an address on which nothing listens.
pub(crate) fn refusing() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
