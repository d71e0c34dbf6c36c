//! The simulated network: a connector for its TCP, and the simulation itself.

use std::{io, time::Duration};

use balanced_channel::{Connector, Endpoint};
use turmoil::net::TcpStream;

/// Opens simulated TCP connections.
pub struct SimulatedTcp;

impl Connector for SimulatedTcp {
    type Io = TcpStream;

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<TcpStream> {
        TcpStream::connect(endpoint.address).await
    }
}

/// Creates a simulation whose network takes one tick from host to host. Runs with the same seed are identical.
pub fn simulation(tick: Duration) -> turmoil::Builder {
    fastrand::seed(7);
    let mut builder = turmoil::Builder::new();
    builder
        .rng_seed(7)
        .tick_duration(tick)
        .min_message_latency(tick)
        .max_message_latency(tick)
        .tcp_capacity(4096)
        .simulation_duration(Duration::from_secs(4 * 3600));
    builder
}

/// A tick of a millisecond, for tests under load.
pub const FINE: Duration = Duration::from_millis(1);
/// A longer tick, for tests that are long in simulated time.
pub const COARSE: Duration = Duration::from_millis(10);
