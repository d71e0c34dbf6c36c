//! The flags of ticketing, beside those that all programs have.

use std::time::Duration;

use clap::{Args, value_parser};
use service::{grpc::ServerConfig, parse_duration};

/// The flags of ticketing. Each can be given in the environment, under the name that `--help` shows.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Limits of connections and messages.
    #[command(flatten)]
    pub server: ServerConfig,

    /// Database: sqlite::memory: (lost at exit), sqlite:FILE, or postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, env, value_name = "DATABASE_URL", default_value = "sqlite::memory:", hide_env_values = true)]
    pub database_url: String,

    /// Connections to the database. SQLite has one more, for all writes
    #[arg(long, env, value_name = "POOL_SIZE", default_value = "8", value_parser = value_parser!(u32).range(1..=1000))]
    pub pool_size: u32,

    /// Time that a call waits for a connection to the database before it ends with UNAVAILABLE
    #[arg(long, env, value_name = "ACQUIRE_TIMEOUT", default_value = "300ms", value_parser = parse_duration)]
    pub acquire_timeout: Duration,

    /// Time that a statement may run before its call ends with UNAVAILABLE; with SQLite, the time that it may wait for
    /// another program's write
    #[arg(long, env, value_name = "STATEMENT_TIMEOUT", default_value = "500ms", value_parser = parse_duration)]
    pub statement_timeout: Duration,
}

// === impl Config ===

impl Default for Config {
    /// The values that the flags have when none is given.
    fn default() -> Self {
        service::defaults()
    }
}
