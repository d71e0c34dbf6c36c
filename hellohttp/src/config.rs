//! The flags of hellohttp, in addition to those of all programs.

use std::time::Duration;

use clap::Args;
use service::{http::ConnectionConfig, parse_duration};

/// The flags of hellohttp. Each can be set by the environment variable that `--help` shows.
#[derive(Args, Clone, Debug)]
#[command(mut_arg("max_connection_age", |arg| arg.default_value("5s")))]
pub struct Config {
    /// Limits of connections. The maximum age is short so that clients that keep connections alive reach new pods.
    #[command(flatten)]
    pub connections: ConnectionConfig,

    /// Fault switch: time that a request waits for its response
    #[arg(long, env, value_name = "RESPONSE_DELAY", default_value = "0s", value_parser = parse_duration)]
    pub response_delay: Duration,
}

// === impl Config ===

impl Default for Config {
    /// Returns the defaults of the flags.
    fn default() -> Self {
        service::defaults()
    }
}
