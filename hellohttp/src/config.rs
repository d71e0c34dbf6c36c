//! The flags of hellohttp, beside those that all programs have.

use std::time::Duration;

use clap::Args;
use service::{http::ConnectionConfig, parse_duration};

/// The flags of hellohttp. Each can be given in the environment, under the name that `--help` shows.
#[derive(Args, Clone, Debug)]
#[command(mut_arg("max_connection_age", |arg| arg.default_value("5s")))]
pub struct Config {
    /// Limits of connections. The age is short so that clients that keep connections alive reach new pods.
    #[command(flatten)]
    pub connections: ConnectionConfig,

    /// Fault switch: how long a request waits for its response
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
