//! The flags of all programs, and their identity.

use std::{
    net::{Ipv6Addr, SocketAddr},
    num::NonZeroUsize,
    str::FromStr,
    time::Duration,
};

use clap::{Args, Command, ValueEnum};

/// The flags that every program has. Each can be given in the environment, under the name `--help` shows.
#[derive(Args, Clone, Debug)]
// The programs' own flags are a group of that name already.
#[group(skip)]
pub struct Config {
    /// Address and port to listen on [default: the program's port on every address, IPv4 and IPv6]
    #[arg(long, env, value_name = "LISTEN_ADDR")]
    pub listen_addr: Option<SocketAddr>,

    /// Address and port of health, readiness and metrics; the default is every address, IPv4 and IPv6; empty turns it
    /// off
    #[arg(long, env, value_name = "ADMIN_ADDR", default_value_t)]
    pub admin_addr: AdminAddr,

    /// Hostname to answer with [default: the machine's]
    #[arg(long, env, value_name = "POD_NAME")]
    pub pod_name: Option<String>,

    /// Version to answer with [default: v1- and the program's name]
    #[arg(long, env, value_name = "APP_VERSION")]
    pub app_version: Option<String>,

    /// The time that new work is still taken after SIGTERM, while readiness is already false
    #[arg(long, env, value_name = "DRAIN_DELAY", default_value = "0s", value_parser = parse_duration)]
    pub drain_delay: Duration,

    /// The time that the whole shutdown may take; what is then unfinished is cut off
    #[arg(long, env, value_name = "SHUTDOWN_TIMEOUT", default_value = "20s", value_parser = parse_duration)]
    pub shutdown_timeout: Duration,

    /// Threads that run the program. One suits a CPU request below one core, and keeps memory small
    #[arg(long, env, value_name = "WORKER_THREADS", default_value = "1")]
    pub worker_threads: NonZeroUsize,

    /// Filter of the log: a level (off, error, warn, info, debug), or `target=level` pairs with commas
    #[arg(long, env, value_name = "LOG_FILTER", default_value = "info")]
    pub log_filter: tracing_subscriber::filter::Targets,

    /// Log format: text, json, or auto, which is text on a terminal and JSON otherwise
    #[arg(long, env, value_name = "LOG_FORMAT", default_value = "auto", hide_possible_values = true)]
    pub log_format: LogFormat,

    /// Ask the program that already runs here whether it is healthy, over its admin port: exits 0 or 1
    #[arg(long)]
    pub health: bool,
}

/// The address of the admin port, if it listens. In text, nothing is the empty string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminAddr(pub Option<SocketAddr>);

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text when standard error is a terminal, JSON otherwise.
    Auto,
    /// One line a person reads.
    Text,
    /// One JSON object a line.
    Json,
}

/// The identity of a program: in its responses, its logs and its metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The version of the program, `v1-hellogrpc` for example.
    pub version: String,
    /// The pod or the machine it runs on.
    pub hostname: String,
}

/// The values that the flags of `C` have when nothing is given: no argument is read, and no environment.
///
/// # Panics
///
/// When `C` has a required flag. Programs here have none: each starts without arguments.
#[must_use]
pub fn defaults<C: Args>() -> C {
    let command =
        C::augment_args(Command::new("defaults")).mut_args(|arg| arg.env(clap::builder::Resettable::Reset));
    let matches = command.get_matches_from(["defaults"]);
    C::from_arg_matches(&matches).expect("a program starts without arguments")
}

/// Reads a duration such as `500ms` or `1m 30s`, for a flag. A year is the most: timers take no more, and nobody
/// means it.
///
/// # Errors
///
/// One sentence for the person who wrote the flag.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    let duration =
        humantime::parse_duration(text).map_err(|error| format!("{error}; write 500ms, 20s or 1m 30s"))?;
    if duration > YEAR { Err("it is longer than a year".to_owned()) } else { Ok(duration) }
}

// === impl Config ===

impl Config {
    /// Returns the identity: `version` unless `APP_VERSION` is set, and the machine's hostname unless
    /// `POD_NAME` does. Empty values count as none.
    #[must_use]
    pub fn identity(&self, version: &str) -> Identity {
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        Identity {
            version: given(&self.app_version).unwrap_or_else(|| version.to_owned()),
            hostname: given(&self.pod_name)
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
    fn an_empty_admin_address_is_none() {
        assert_eq!("".parse(), Ok(AdminAddr(None)));
        assert_eq!("127.0.0.1:1".parse(), Ok(AdminAddr(Some(([127, 0, 0, 1], 1).into()))));
        assert!("8080".parse::<AdminAddr>().is_err());
    }

    #[test]
    fn durations_have_a_unit_and_an_end() {
        assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        for bad in ["", "20", "-1s", "soon", "366days", "99999999999999999999s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn identity_is_what_is_given_or_the_machine() {
        let mut config: Config = defaults();
        let machine = gethostname::gethostname().to_string_lossy().into_owned();
        assert_eq!(config.identity("v1-x"), Identity { version: "v1-x".into(), hostname: machine });
        config.pod_name = Some("pod-1".into());
        config.app_version = Some(String::new());
        assert_eq!(config.identity("v1-x"), Identity { version: "v1-x".into(), hostname: "pod-1".into() });
    }
}
