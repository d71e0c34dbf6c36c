//! The system itself: pods, DNS, ClusterIP and gateway, each on sockets of its own, all in this process.

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

/// The name that hellogrpc's addresses have in DNS.
pub const GRPC_SVC: &str = "grpc-svc";
/// The name that hellohttp's ClusterIP has in DNS.
pub const HTTP_SVC: &str = "http-svc";

/// The gateway's routes: nothing but the policy is different, and none retries, so that each shows its own merit.
pub(crate) const ROUTES: &str = r#"[
    {"name": "round_robin", "serviceConfig": {"loadBalancingConfig": [{"round_robin": {}}]}},
    {"name": "pick_first", "serviceConfig": {"loadBalancingConfig": [{"pick_first": {}}]}},
    {"name": "least_request", "serviceConfig": {"loadBalancingConfig": [{"least_request": {}}]}}
]"#;

/// The number of times that the gateway is asked for the state of its connections.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The time that programs may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(2);

type Failure = Box<dyn Error + Send + Sync>;

/// A running system.
pub struct System {
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// Where the gateway says what it knows of its backends.
    pub admin: SocketAddr,
    /// The gateway's target for `/hellogrpc`.
    pub grpc_target: String,
    /// The gateway's target for `/hellohttp`.
    pub http_target: String,
    /// The hellogrpc pods.
    pub grpc: Vec<Pod>,
    /// The hellohttp pods.
    pub http: Vec<Pod>,
    /// Answers for [`GRPC_SVC`] and [`HTTP_SVC`].
    pub dns: DnsServer,
    /// Stands before the hellohttp pods.
    pub cluster_ip: ClusterIp,
    /// True if each pod has an address of its own.
    pub own_addresses: bool,
    admin_routes: Router,
    programs: Programs,
    _block: Option<Block>,
}

/// One backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// The hostname in its responses.
    pub name: String,
    /// Where it listens.
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
    /// Starts everything on `layout`, with the gateway on `listener`.
    ///
    /// # Errors
    ///
    /// When the DNS server finds no port, or a program does not take its configuration.
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
            // DNS has no ports, so the pods are listed.
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

    /// The gateway's address as a client on this machine uses it.
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
    /// When it is not within `patience`, or a program ended; one sentence.
    pub async fn connected(&mut self, patience: Duration) -> Result<(), String> {
        let pods = self.grpc.len();
        let mut connected = Vec::new();
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let all = async {
            while connected.is_empty() || connected.contains(&false) {
                look.tick().await;
                connected = connected_channels(&self.admin_routes, pods).await;
            }
        };
        tokio::select! {
            all = timeout(patience, all) => all.map_err(|_| {
                let ready = connected.iter().filter(|connected| **connected).count();
                format!("{ready} of {} channels of the gateway are connected after {patience:?}", connected.len())
            }),
            ended = self.programs.ended() => Err(ended),
        }
    }

    /// Waits until a program ends before it was told to, and says which way.
    pub async fn failed(&mut self) -> String {
        self.programs.ended().await
    }

    /// Lets every program finish what it has in hand.
    pub async fn stop(mut self) {
        for trigger in &self.programs.triggers {
            trigger.close();
        }
        let all = async { while self.programs.running.join_next().await.is_some() {} };
        // What does not end in time is dropped with the system.
        drop(timeout(STOP_WITHIN, all).await);
    }
}

/// For each gRPC channel of the gateway, whether it knows all pods and has no connection that is not READY, as its
/// admin port says. How many connections it wants is its policy's affair.
async fn connected_channels(admin: &Router, pods: usize) -> Vec<bool> {
    let request = Request::get("/debug/channels").header(HOST, "localhost").body(Body::empty());
    let request = request.expect("the request is a constant");
    let Ok(response) = admin.clone().oneshot(request).await;
    let Ok(body) = response.into_body().collect().await else { return Vec::new() };
    // Not there yet, or not JSON: the gateway is still starting.
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
    /// One program of a kind for each listener.
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
