//! The flags that all programs share, and the identity that they configure.

use std::{
    net::{Ipv6Addr, SocketAddr},
    num::NonZeroUsize,
    str::FromStr,
    time::Duration,
};

use clap::{Args, Command, ValueEnum};

/// The flags that every program has. Each can also be set in the environment, under the name that `--help` shows.
#[derive(Args, Clone, Debug)]
// The flags of each program form a group with the same name, `Config`.
#[group(skip)]
pub struct Config {
    /// Address and port to listen on [default: the program's port on every address, IPv4 and IPv6]
    #[arg(long, env, value_name = "LISTEN_ADDR")]
    pub listen_addr: Option<SocketAddr>,

    /// Address and port of the admin port, which has health, readiness and metrics; the default listens on every
    /// address, IPv4 and IPv6. An empty value turns the admin port off
    #[arg(long, env, value_name = "ADMIN_ADDR", default_value_t)]
    pub admin_addr: AdminAddr,

    /// Hostname in responses [default: the machine's]
    #[arg(long, env, value_name = "POD_NAME")]
    pub pod_name: Option<String>,

    /// Version in responses [default: v1- and the program's name]
    #[arg(long, env, value_name = "APP_VERSION")]
    pub app_version: Option<String>,

    /// Time after SIGTERM during which new requests are still accepted, while readiness already fails
    #[arg(long, env, value_name = "DRAIN_DELAY", default_value = "0s", value_parser = parse_duration)]
    pub drain_delay: Duration,

    /// Time limit of the whole shutdown; requests that are then unfinished are aborted
    #[arg(long, env, value_name = "SHUTDOWN_TIMEOUT", default_value = "20s", value_parser = parse_duration)]
    pub shutdown_timeout: Duration,

    /// Number of threads of the runtime. 1 fits a pod that requests less than one CPU, and keeps memory small
    #[arg(long, env, value_name = "WORKER_THREADS", default_value = "1")]
    pub worker_threads: NonZeroUsize,

    /// Log filter: a level (off, error, warn, info, debug), or comma-separated `target=level` pairs
    #[arg(long, env, value_name = "LOG_FILTER", default_value = "info")]
    pub log_filter: tracing_subscriber::filter::Targets,

    /// Log format: text, json, or auto (text on a terminal, JSON otherwise)
    #[arg(long, env, value_name = "LOG_FORMAT", default_value = "auto", hide_possible_values = true)]
    pub log_format: LogFormat,

    /// Check the health of the program that already runs on this machine, over its admin port, and exit with 0 or 1
    #[arg(long)]
    pub health: bool,
}

/// The address of the admin port; `None`, or an empty string as text, turns the port off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminAddr(pub Option<SocketAddr>);

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text when standard error is a terminal, JSON otherwise.
    Auto,
    /// One line of text per event.
    Text,
    /// One JSON object per line.
    Json,
}

/// The identity of a program in its responses, logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The version of the program, e.g. `v1-hellogrpc`.
    pub version: String,
    /// The name of the pod or machine.
    pub hostname: String,
}

/// Returns the defaults of the flags of `C`. Reads neither arguments nor the environment.
///
/// # Panics
///
/// If `C` has a required flag; the programs of this workspace have none.
#[must_use]
pub fn defaults<C: Args>() -> C {
    let command =
        C::augment_args(Command::new("defaults")).mut_args(|arg| arg.env(clap::builder::Resettable::Reset));
    let matches = command.get_matches_from(["defaults"]);
    C::from_arg_matches(&matches).expect("no flag is required")
}

/// Parses a duration such as `500ms` or `1m 30s`.
///
/// # Errors
///
/// If the text is not a duration with a unit, or is longer than a year: tokio's timers have a limit, and a longer value
/// is a mistake.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    let duration =
        humantime::parse_duration(text).map_err(|error| format!("{error}; write 500ms, 20s or 1m 30s"))?;
    if duration > YEAR { Err("it is longer than a year".to_owned()) } else { Ok(duration) }
}

// === impl Config ===

impl Config {
    /// Returns the identity: `version` unless `APP_VERSION` is set, and the machine's hostname unless `POD_NAME` is set.
    /// Empty values count as unset.
    #[must_use]
    pub fn identity(&self, version: &str) -> Identity {
        let non_empty = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        Identity {
            version: non_empty(&self.app_version).unwrap_or_else(|| version.to_owned()),
            hostname: non_empty(&self.pod_name)
                .unwrap_or_else(|| gethostname::gethostname().to_string_lossy().into_owned()),
        }
    }
}

// === impl AdminAddr ===

impl Default for AdminAddr {
    fn default() -> Self {
        Self(Some((Ipv6Addr::UNSPECIFIED, 8080).into()))
    }
}

impl FromStr for AdminAddr {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(|addr| Self(Some(addr))) }
    }
}

impl std::fmt::Display for AdminAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |addr| addr.fmt(f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_need_no_arguments_and_no_environment() {
        let config: Config = defaults();
        assert_eq!(config.listen_addr, None);
        assert_eq!(config.admin_addr.to_string(), "[::]:8080");
        assert_eq!(config.drain_delay, Duration::ZERO);
        assert_eq!(config.shutdown_timeout, Duration::from_secs(20));
        assert_eq!(config.worker_threads.get(), 1);
    }

    #[test]
    fn empty_admin_address_turns_the_port_off() {
        assert_eq!("".parse(), Ok(AdminAddr(None)));
        assert_eq!("127.0.0.1:1".parse(), Ok(AdminAddr(Some(([127, 0, 0, 1], 1).into()))));
        assert!("8080".parse::<AdminAddr>().is_err());
    }

    #[test]
    fn duration_without_a_unit_or_longer_than_a_year_is_an_error() {
        assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        for bad in ["", "20", "-1s", "soon", "366days", "99999999999999999999s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn unset_or_empty_values_fall_back_to_the_defaults() {
        let mut config: Config = defaults();
        let machine = gethostname::gethostname().to_string_lossy().into_owned();
        assert_eq!(config.identity("v1-x"), Identity { version: "v1-x".into(), hostname: machine });
        config.pod_name = Some("pod-1".into());
        config.app_version = Some(String::new());
        assert_eq!(config.identity("v1-x"), Identity { version: "v1-x".into(), hostname: "pod-1".into() });
    }
}
