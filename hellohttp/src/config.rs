//! The flags of hellohttp, beside those that all programs have.

use std::time::Duration;

use clap::Args;
use service::parse_duration;

/// The flags of hellohttp. Each can be given in the environment, under the name `--help` shows.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// How long a connection may live, give or take 10 %, before an answer on it says `connection: close`; 0s is
    /// for ever
    #[arg(long, env, value_name = "MAX_CONNECTION_AGE", default_value = "5s", value_parser = parse_duration)]
    pub max_connection_age: Duration,

    /// How long the request in flight on a connection that should end may take, before it is cut off; 0s is for
    /// ever
    #[arg(long, env, value_name = "MAX_CONNECTION_AGE_GRACE", default_value = "30s", value_parser = parse_duration)]
    pub max_connection_age_grace: Duration,

    /// Fault switch: how long a request waits for its answer
    #[arg(long, env, value_name = "RESPONSE_DELAY", default_value = "0s", value_parser = parse_duration)]
    pub response_delay: Duration,
}

// === impl Config ===

impl Default for Config {
    /// What the flags are when none is given.
    fn default() -> Self {
        service::defaults()
    }
}
