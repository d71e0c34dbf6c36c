//! The flags of hellogrpc, beside those that all programs have.

use std::time::Duration;

use clap::Args;
use service::{grpc::ServerConfig, parse_duration};

/// The flags of hellogrpc. Each can be given in the environment, under the name that `--help` shows.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Limits of connections and messages.
    #[command(flatten)]
    pub server: ServerConfig,

    /// Time that an open stream has after the program closed; then it ends with UNAVAILABLE, and its client
    /// opens it again elsewhere. Must be shorter than SHUTDOWN_TIMEOUT, which cuts off what is left
    #[arg(long, env, value_name = "STREAM_GRACE", default_value = "10s", value_parser = parse_duration)]
    pub stream_grace: Duration,

    /// Fault switch: time that a method waits before each message of its answer
    #[arg(long, env, value_name = "RESPONSE_DELAY", default_value = "0s", value_parser = parse_duration)]
    pub response_delay: Duration,
}

// === impl Config ===

impl Default for Config {
    /// The values that the flags have when none is given.
    fn default() -> Self {
        service::defaults()
    }
}
