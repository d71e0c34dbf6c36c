//! hellogrpc pods, each a separate process on its own loopback address.

use std::net::SocketAddr;

use kubetester::loopback::Block;
use service::testing::{Running, Signal};

pub(super) const TOOL: &str = env!("CARGO_BIN_EXE_kubetester");

/// Pods number 1, 2, 3 and so on.
pub(super) struct Pods {
    running: Vec<Option<Running>>,
    pub(super) addresses: Vec<SocketAddr>,
    env: &'static [(&'static str, &'static str)],
    _block: Block,
}

impl Pods {
    pub(super) async fn start(count: u8) -> Self {
        Self::start_with(count, &[]).await
    }

    /// Starts pods with the same environment variables.
    pub(super) async fn start_with(count: u8, env: &'static [(&'static str, &'static str)]) -> Self {
        let block = Block::claim().unwrap().unwrap();
        let mut pods = Self { running: Vec::new(), addresses: Vec::new(), env, _block: block };
        for number in 1..=count {
            let listen = SocketAddr::from((pods._block.address(number), 0));
            let running = pods.pod(number, listen).await;
            pods.addresses.push(running.listen);
            pods.running.push(Some(running));
        }
        pods
    }

    /// Returns a target that lists the addresses of all pods.
    pub(super) fn target(&self) -> String {
        let list: Vec<_> = self.addresses.iter().map(SocketAddr::to_string).collect();
        format!("ipv4:{}", list.join(","))
    }

    pub(super) fn take(&mut self, number: u8) -> Running {
        self.running[usize::from(number) - 1].take().unwrap()
    }

    pub(super) async fn kill(&mut self, number: u8) {
        let pod = self.take(number);
        pod.signal(Signal::KILL);
        assert_eq!(pod.exit().await.code, None, "a signal ended it");
    }

    /// Starts a pod again, on the same address.
    pub(super) async fn restart(&mut self, number: u8) {
        let running = self.pod(number, self.addresses[usize::from(number) - 1]).await;
        self.running[usize::from(number) - 1] = Some(running);
    }

    async fn pod(&self, number: u8, listen: SocketAddr) -> Running {
        let (listen, name) = (listen.to_string(), name(number));
        let own = [("LISTEN_ADDR", listen.as_str()), ("POD_NAME", &name)];
        program("hellogrpc", &[&own, self.env].concat()).await
    }
}

pub(super) fn name(number: u8) -> String {
    format!("hellogrpc-{number}")
}

/// Starts a program of the system as a process, on free ports unless `env` sets them.
pub(super) async fn program(name: &str, env: &[(&str, &str)]) -> Running {
    Running::start_with(TOOL, &["pod", name], env).await
}
