//! hellogrpc servers in this process, whose streams are held while DNS and the servers change.

use std::{collections::BTreeMap, time::Duration};

use kubetester::{
    demo::layout::{Layout, addresses},
    dns::DnsServer,
};
use service::{Identity, Instance, Shutdown, Trigger, defaults, testing::Exposition};
use tokio::task::JoinHandle;

use super::callers::until;

/// The name in DNS.
const NAME: &str = "grpc-svc";

/// hellogrpc servers behind real DNS. Their streams have no message within an hour.
pub(super) struct Servers {
    pub(super) pods: Vec<Server>,
    dns: DnsServer,
    addresses: Vec<std::net::SocketAddr>,
    _block: Option<kubetester::loopback::Block>,
}

pub(super) struct Server {
    pub(super) instance: Instance,
    pub(super) trigger: Trigger,
    pub(super) serving: JoinHandle<()>,
}

// === impl Servers ===

impl Servers {
    /// Starts `count` servers, of which DNS lists the first `listed`.
    pub(super) async fn start(count: u8, listed: usize) -> Self {
        let layout = Layout::bind(count, 1, false).await.unwrap();
        let addresses = addresses(&layout.grpc).unwrap();
        let mut pods = Vec::new();
        for (number, listener) in layout.grpc.into_iter().enumerate() {
            let (trigger, shutdown) = Shutdown::new();
            let hostname = format!("hellogrpc-{}", number + 1);
            let instance = Instance::new(Identity { version: "v1-hellogrpc".into(), hostname }, shutdown);
            let config = hellogrpc::Config {
                response_delay: Duration::from_secs(3600),
                stream_grace: Duration::from_millis(200),
                ..defaults()
            };
            let serving = hellogrpc::serve(config, listener, instance.clone());
            let serving = tokio::spawn(async move { serving.await.unwrap() });
            pods.push(Server { instance, trigger, serving });
        }
        let dns = DnsServer::start(layout.dns).await.unwrap();
        let servers = Self { pods, dns, addresses, _block: layout.block };
        servers.list(0, listed);
        servers
    }

    /// Has DNS list the servers `from` to `to`.
    pub(super) fn list(&self, from: usize, to: usize) {
        self.dns.zone().set(NAME, self.addresses[from..to].iter().map(|address| address.ip()));
    }

    pub(super) fn target(&self) -> String {
        format!("dns://{}/{NAME}:{}", self.dns.address(), self.addresses[0].port())
    }

    /// Returns the streams that each server has in flight; servers without one are left out.
    pub(super) fn in_flight(&self, method: &str) -> BTreeMap<String, u64> {
        let count = |server: &Server| {
            let metrics = Exposition::parse(&server.instance.metrics.render().unwrap());
            let count = metrics.value("grpc_server_in_flight", &[("grpc_method", method)]).unwrap_or(0.0);
            (server.instance.identity.hostname.clone(), count as u64)
        };
        self.pods.iter().map(count).filter(|(_, count)| *count > 0).collect()
    }

    /// Returns the connections that a server has open.
    pub(super) fn connections(&self, number: usize) -> u64 {
        let metrics = Exposition::parse(&self.pods[number].instance.metrics.render().unwrap());
        let open = metrics.value("server_connections_open", &[("listener", "service")]);
        open.expect("the server counts its connections") as u64
    }

    pub(super) async fn until_in_flight(&self, method: &str, count: u64) {
        until(|| self.in_flight(method).values().sum::<u64>() == count).await;
    }
}
