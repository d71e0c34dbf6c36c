//! The simulated network: its TCP as the channel's connector, and a simulation to run it in.

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

/// A simulation whose network takes one tick from host to host. The same seed gives the same run.
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
/// A longer one, for tests that are long in simulated time.
pub const COARSE: Duration = Duration::from_millis(10);
