//! The gateway of the demo, and readiness checks of programs.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::process::Process;
use crate::{
    demo::system::{HTTP_SVC, ROUTES},
    drill::platform::PlatformError,
    target::Endpoint,
    transport::{self, Setup},
};

/// The maximum time until the gateway is connected to every pod, or until a pod is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(20);
/// The interval between readiness checks.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A gateway that is connected to the pods.
pub(super) struct Gateway {
    process: Option<Process>,
    listen: SocketAddr,
    /// The target of `/hellogrpc`.
    pub(super) target: String,
    /// The port that all pods share.
    pub(super) pods_port: u16,
}

// === impl Gateway ===

impl Gateway {
    /// Starts the gateway, and waits until each of its routes is connected to the pods. `http` is the port of the
    /// hellohttp pod and the DNS server that resolves its name.
    pub(super) async fn start(
        address: Ipv4Addr,
        target: String,
        pods_port: u16,
        pods: usize,
        http: Option<(u16, SocketAddr)>,
    ) -> Result<Self, PlatformError> {
        let mut env = vec![
            ("LISTEN_ADDR", format!("{address}:0")),
            ("ADMIN_ADDR", format!("{address}:0")),
            ("GRPC_TARGET", target.clone()),
            ("GRPC_ROUTES", ROUTES.to_owned()),
        ];
        if let Some((port, dns)) = http {
            env.push(("HTTP_TARGET", format!("http://{HTTP_SVC}:{port}/hellohttp")));
            env.push(("HTTP_DNS_SERVER", dns.to_string()));
        }
        let name = helloserve::PROGRAM.name;
        let process = Process::start(name, name, &env).await?;
        let connected = |body: &[u8]| connected(body, pods);
        poll_until(&process, process.listen, "/routes", connected, "is connected to every pod").await?;
        Ok(Self { listen: process.listen, process: Some(process), target, pods_port })
    }

    /// Returns the address that the gateway listens on.
    pub(super) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Ends the gateway.
    pub(super) async fn end(&mut self) -> Result<(), PlatformError> {
        match self.process.take() {
            Some(process) => process.end().await,
            None => Ok(()),
        }
    }
}

/// Waits until a program is ready.
pub(super) async fn ready(process: &Process) -> Result<(), PlatformError> {
    poll_until(process, process.admin, "/readyz", |_| true, "is ready").await
}

/// Returns whether each route in `/routes` is connected to every pod, or to one pod if its policy uses only one.
fn connected(routes: &[u8], pods: usize) -> bool {
    let document: Value = serde_json::from_slice(routes).unwrap_or_default();
    let connected = |route: &Value| {
        let wanted = if route["policy"] == "pick_first" { 1 } else { pods };
        route["endpoints"]["total"] == pods && route["endpoints"]["ready"] == wanted
    };
    document["routes"].as_array().is_some_and(|routes| !routes.is_empty() && routes.iter().all(connected))
}

/// Polls a URL of a program until it answers with success and the expected content.
async fn poll_until(
    process: &Process,
    at: SocketAddr,
    path: &str,
    wanted: impl Fn(&[u8]) -> bool,
    what: &str,
) -> Result<(), PlatformError> {
    let until = Instant::now() + READY_TIMEOUT;
    let endpoint = Endpoint { host: at.ip().to_string(), port: at.port(), path: path.to_owned(), tls: false };
    loop {
        let answer = transport::fetch(endpoint.clone(), Setup::default(), READY_TIMEOUT).await;
        if answer.is_ok_and(|answer| answer.is_ok_and(|body| wanted(&body))) {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(PlatformError(format!(
                "{process} does not say after {READY_TIMEOUT:?} that it {what}"
            )));
        }
        sleep(POLL_INTERVAL).await;
    }
}
