//! The set-up of a test: machines on a simulated network, and a client that runs the test.

use std::time::Duration;

use balanced_channel::Channel;

use crate::{
    load::ready,
    network::simulation,
    node::{Backend, Node},
    registry::Registry,
};

/// Backends, the registry that lists them, and a channel that is connected to all of them.
pub struct Cluster {
    pub backends: Vec<Backend>,
    pub registry: Registry,
    pub channel: Channel,
}

/// Runs `test` on the host `client`, in a network with a machine for each name.
pub fn simulate<const N: usize, F>(tick: Duration, names: [&str; N], test: impl FnOnce([Node; N]) -> F)
where
    F: Future<Output = ()> + 'static,
{
    let mut sim = simulation(tick).build();
    let test = test(names.map(|name| Node::new(&mut sim, name)));
    sim.client("client", async move {
        test.await;
        Ok(())
    });
    sim.run().unwrap();
}

// === impl World ===

impl Cluster {
    /// Starts `backends` backends on one machine.
    pub async fn with(node: &Node, backends: u16) -> Self {
        Self::of(node.backends(backends)).await
    }

    /// Creates a cluster of these backends.
    pub async fn of(backends: Vec<Backend>) -> Self {
        let registry = Registry::of(&backends);
        let channel = registry.channel();
        ready(&channel, backends.len()).await;
        Self { backends, registry, channel }
    }
}
