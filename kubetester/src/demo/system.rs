//! Runs pods, DNS server, ClusterIP and gateway in this process, each with its own sockets.

use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use axum::{Router, body::Body};
use balanced_channel::Target;
use http::{Request, header::HOST};
use http_body_util::BodyExt as _;
use serde_json::Value;
use service::{Identity, Instance, Program, Shutdown, Trigger, defaults};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tower::ServiceExt as _;

use super::{
    cluster_ip::ClusterIp,
    layout::{self, Layout},
};
use crate::{dns::DnsServer, loopback::Block};

/// The DNS name of the hellogrpc pods.
pub const GRPC_SVC: &str = "grpc-svc";
/// The DNS name of hellohttp's ClusterIP.
pub const HTTP_SVC: &str = "http-svc";

/// The gateway's routes. They differ in the policy only, and do not retry, so that the policies can be compared.
pub(crate) const ROUTES: &str = r#"[
    {"name": "round_robin", "serviceConfig": {"loadBalancingConfig": [{"round_robin": {}}]}},
    {"name": "pick_first", "serviceConfig": {"loadBalancingConfig": [{"pick_first": {}}]}},
    {"name": "least_request", "serviceConfig": {"loadBalancingConfig": [{"least_request": {}}]}}
]"#;

/// The interval between queries of the gateway's connection states.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// The maximum time for programs to end.
const STOP_WITHIN: Duration = Duration::from_secs(2);

type Failure = Box<dyn Error + Send + Sync>;

/// A running system.
pub struct System {
    /// The address of the gateway.
    pub gateway: SocketAddr,
    /// The address of the gateway's admin port.
    pub admin: SocketAddr,
    /// The gateway's target for `/hellogrpc`.
    pub grpc_target: String,
    /// The gateway's target for `/hellohttp`.
    pub http_target: String,
    /// The hellogrpc pods.
    pub grpc: Vec<Pod>,
    /// The hellohttp pods.
    pub http: Vec<Pod>,
    /// The DNS server, which resolves [`GRPC_SVC`] and [`HTTP_SVC`].
    pub dns: DnsServer,
    /// The ClusterIP of the hellohttp pods.
    pub cluster_ip: ClusterIp,
    /// True if each pod has its own address.
    pub own_addresses: bool,
    admin_routes: Router,
    programs: Programs,
    _block: Option<Block>,
}

/// One backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// The hostname in the pod's responses.
    pub name: String,
    /// The address that the pod listens on.
    pub address: SocketAddr,
}

/// The programs of this process.
#[derive(Default)]
struct Programs {
    triggers: Vec<Trigger>,
    running: JoinSet<Result<(), Failure>>,
}

// === impl System ===

impl System {
    /// Starts all programs on `layout`, and the gateway on `listener`.
    ///
    /// # Errors
    ///
    /// Fails if the DNS server finds no free port, or if a program rejects its configuration.
    pub async fn start(layout: Layout, listener: TcpListener) -> Result<Self, Failure> {
        let Layout { block, grpc, http, cluster_ip, admin, dns } = layout;
        let own_addresses = block.is_some();
        let mut programs = Programs::default();
        let grpc = programs.pods(hellogrpc::PROGRAM, hellogrpc::serve, grpc)?;
        let http = programs.pods(hellohttp::PROGRAM, hellohttp::serve, http)?;
        let cluster_ip = ClusterIp::start(cluster_ip, http.iter().map(|pod| pod.address).collect())?;

        let dns = DnsServer::start(dns).await?;
        dns.zone().set(GRPC_SVC, grpc.iter().map(|pod| pod.address.ip()));
        dns.zone().set(HTTP_SVC, [cluster_ip.address().ip()]);

        let grpc_target = match own_addresses {
            true => format!("dns://{}/{GRPC_SVC}:{}", dns.address(), grpc[0].address.port()),
            // DNS names have no ports, so the addresses of the pods are listed.
            false => format!(
                "ipv4:{}",
                grpc.iter().map(|pod| pod.address.to_string()).collect::<Vec<_>>().join(",")
            ),
        };
        let http_target = match cluster_ip.address().port() {
            80 => format!("http://{HTTP_SVC}/hellohttp"),
            port => format!("http://{HTTP_SVC}:{port}/hellohttp"),
        };
        let config = helloserve::Config {
            grpc_target: grpc_target.parse::<Target>()?,
            grpc_routes: ROUTES.parse()?,
            http_target: http_target.parse()?,
            http_dns_server: Some(dns.address()),
            ..defaults()
        };
        let gateway = listener.local_addr()?;
        let admin_address = admin.local_addr()?;
        let instance = programs.instance(helloserve::PROGRAM, "helloserve".to_owned());
        let routes = instance.admin.clone();
        let admin_routes = routes.router();
        programs.running.spawn(async move {
            tokio::select! {
                served = helloserve::serve(config, listener, instance) => served,
                () = routes.serve(admin) => Ok(()),
            }
        });
        Ok(Self {
            gateway,
            admin: admin_address,
            grpc_target,
            http_target,
            grpc,
            http,
            dns,
            cluster_ip,
            own_addresses,
            admin_routes,
            programs,
            _block: block,
        })
    }

    /// Returns the gateway's address for clients on this machine.
    pub fn reachable_gateway(&self) -> SocketAddr {
        let ip = match self.gateway.ip() {
            ip if !ip.is_unspecified() => ip,
            _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        SocketAddr::new(ip, self.gateway.port())
    }

    /// Waits until each route of the gateway is connected to every hellogrpc pod that its policy connects to.
    ///
    /// # Errors
    ///
    /// Fails with a sentence if the gateway is not connected within `limit`, or if a program ended.
    pub async fn connected(&mut self, limit: Duration) -> Result<(), String> {
        let pods = self.grpc.len();
        let mut connected = Vec::new();
        let mut poll = interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let all = async {
            while connected.is_empty() || connected.contains(&false) {
                poll.tick().await;
                connected = connected_channels(&self.admin_routes, pods).await;
            }
        };
        tokio::select! {
            all = timeout(limit, all) => all.map_err(|_| {
                let ready = connected.iter().filter(|connected| **connected).count();
                format!("{ready} of {} channels of the gateway are connected after {limit:?}", connected.len())
            }),
            ended = self.programs.ended() => Err(ended),
        }
    }

    /// Waits until a program ends unexpectedly. Returns a sentence about the cause.
    pub async fn failed(&mut self) -> String {
        self.programs.ended().await
    }

    /// Shuts down all programs gracefully.
    pub async fn stop(mut self) {
        for trigger in &self.programs.triggers {
            trigger.close();
        }
        let all = async { while self.programs.running.join_next().await.is_some() {} };
        // Programs that do not end in time are dropped with the system.
        drop(timeout(STOP_WITHIN, all).await);
    }
}

/// Returns, for each gRPC channel on the gateway's admin port, whether it has resolved all pods and all its subchannels
/// are READY. The number of subchannels depends on the channel's policy.
async fn connected_channels(admin: &Router, pods: usize) -> Vec<bool> {
    let request = Request::get("/debug/channels").header(HOST, "localhost").body(Body::empty());
    let request = request.expect("the request is a constant");
    let Ok(response) = admin.clone().oneshot(request).await;
    let Ok(body) = response.into_body().collect().await else { return Vec::new() };
    // If the response is not JSON, the gateway is still starting.
    let Ok(document) = serde_json::from_slice::<Value>(&body.to_bytes()) else { return Vec::new() };
    let list = |value: &Value, name| value[name].as_array().cloned().unwrap_or_default();
    let connected = |channel: &Value| {
        let subchannels = list(channel, "subchannels");
        channel["resolver"]["endpoints"] == pods
            && !subchannels.is_empty()
            && subchannels.iter().all(|subchannel| subchannel["state"] == "READY")
    };
    list(&document, "channels").iter().map(connected).collect()
}

// === impl Programs ===

impl Programs {
    /// Starts one program of a kind on each listener.
    fn pods<C, S, F>(
        &mut self,
        program: Program,
        serve: S,
        listeners: Vec<TcpListener>,
    ) -> Result<Vec<Pod>, Failure>
    where
        C: clap::Args,
        S: Fn(C, TcpListener, Instance) -> F,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let addresses = layout::addresses(&listeners)?;
        let mut pods = Vec::new();
        for (number, (listener, address)) in listeners.into_iter().zip(addresses).enumerate() {
            let name = format!("{}-{}", program.name, number + 1);
            let instance = self.instance(program, name.clone());
            self.running.spawn(serve(defaults(), listener, instance));
            pods.push(Pod { name, address });
        }
        Ok(pods)
    }

    fn instance(&mut self, program: Program, hostname: String) -> Instance {
        let (trigger, shutdown) = Shutdown::new();
        self.triggers.push(trigger);
        Instance::new(Identity { version: program.version.to_owned(), hostname }, shutdown)
    }

    async fn ended(&mut self) -> String {
        match self.running.join_next().await {
            Some(Ok(Ok(()))) => "a program of the system ended by itself".to_owned(),
            Some(Ok(Err(error))) => format!("a program of the system failed: {error}"),
            Some(Err(panic)) => format!("a program of the system panicked: {panic}"),
            None => std::future::pending().await,
        }
    }
}
