//! `kubetester echo`: runs the echo server, or its client.

use std::{
    env::{self, VarError},
    process::ExitCode,
    time::Duration,
};

use clap::{ArgAction, Args};
use service::{Identity, Instance, Shutdown, listen};
use tokio::net::{TcpListener, lookup_host};
use tokio_util::sync::CancellationToken;

use super::{COULD_NOT_RUN, CliError, OK, USAGE, call::Call, nonzero_duration, not_utf8, output};
use crate::target::Target;

/// The maximum time for calls in flight to finish after SIGTERM.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);

/// The default address to serve on: every address, IPv4 and IPv6.
const EVERY_ADDRESS: &str = "[::]:8080";
/// The default server to call.
const LOCALHOST: &str = "localhost:8080";

const EXAMPLES: &str = "Examples:
  kubetester echo -s
  kubetester echo -h dns:///echo-headless:8080 -n 4 --every 1s";

/// Call an echo server every few seconds, or be one
///
/// The server answers message.Echo/EchoMessage with its name: $HOSTNAME, or else its address. On SIGINT and SIGTERM
/// client and server exit with code 0.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, after_help = EXAMPLES)]
pub(super) struct Echo {
    /// Serve instead of calling
    #[arg(short, long)]
    serve: bool,

    /// Address to serve on, or server to call: host:port is one connection, dns:///host:port is balanced over the
    /// addresses of the name [default: port 8080, to serve on every address, IPv4 and IPv6, or to call on localhost]
    #[arg(short = 'h', long, value_name = "HOST")]
    host: Option<String>,

    /// Time from one call to the next
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = nonzero_duration)]
    every: Duration,

    /// Stop after this many calls [default: never]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    calls: Option<u64>,

    /// Message to send
    #[arg(long, value_name = "TEXT", default_value = "Hello")]
    message: String,

    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

// === impl Echo ===

impl Echo {
    pub(super) async fn run(self) -> Result<ExitCode, CliError> {
        let signals = |error| CliError::new(COULD_NOT_RUN, format!("cannot listen for signals: {error}"));
        let shutdown = Shutdown::from_signals(Duration::ZERO, SHUTDOWN_TIMEOUT).map_err(signals)?;
        if self.serve { self.serve(shutdown).await } else { self.call(shutdown).await }
    }

    async fn serve(self, shutdown: Shutdown) -> Result<ExitCode, CliError> {
        let hostname = hostname()?;
        let listener = listener(self.host.as_deref().unwrap_or(EVERY_ADDRESS)).await?;
        let address = listener.local_addr();
        let address = address.map_err(|error| CliError::new(COULD_NOT_RUN, error.to_string()))?;
        let hostname = hostname.unwrap_or_else(|| address.to_string());
        let version = hellogrpc::PROGRAM.version.into();
        let identity = Identity { version, hostname: hostname.clone() };
        let instance = Instance::new(identity, shutdown.clone());
        output::write(format!("{hostname} serves message.Echo on {address}\n").as_bytes())?;
        tokio::select! {
            served = hellogrpc::serve(hellogrpc::Config::default(), listener, instance) => {
                served.map_err(|error| CliError::new(COULD_NOT_RUN, error.to_string()))?;
            }
            () = shutdown.expired() => {}
        }
        Ok(ExitCode::from(OK))
    }

    async fn call(self, shutdown: Shutdown) -> Result<ExitCode, CliError> {
        let Self { host, every, calls, message, .. } = self;
        let host = host.unwrap_or_else(|| LOCALHOST.to_owned());
        let invalid = |error: crate::target::InvalidTarget| CliError::new(USAGE, error.to_string());
        let target: Target = host.parse().map_err(invalid)?;
        let target = match target.hint() {
            // A target without a scheme is called over one connection.
            Some(_) => format!("grpc://{host}").parse().map_err(invalid)?,
            None => target,
        };
        if matches!(target, Target::Http(_)) {
            return Err(CliError::new(
                USAGE,
                format!("{target} is HTTP; write host:port or dns:///host:port"),
            ));
        }
        let stop = CancellationToken::new();
        let signalled = stop.clone();
        tokio::spawn(async move {
            shutdown.draining().await;
            signalled.cancel();
        });
        let calls = Call::echo(target, message, every, calls)?.run_until(&stop).await?;
        match stop.is_cancelled() || calls.succeeded() {
            true => Ok(ExitCode::from(OK)),
            false => Err(CliError::new(COULD_NOT_RUN, format!("no call to {} succeeded", calls.target))),
        }
    }
}

/// Binds the address to serve on.
async fn listener(host: &str) -> Result<TcpListener, CliError> {
    let failed = |why: String| CliError::new(USAGE, format!("cannot serve on {host:?}: {why}"));
    let mut addresses = lookup_host(host).await.map_err(|error| failed(error.to_string()))?;
    let address = addresses.next().ok_or_else(|| failed("the name has no addresses".to_owned()))?;
    listen::address(address, "--host").map_err(|error| CliError::new(COULD_NOT_RUN, error.to_string()))
}

/// Returns `$HOSTNAME`, if it is set and not empty.
fn hostname() -> Result<Option<String>, CliError> {
    match env::var("HOSTNAME") {
        Err(VarError::NotUnicode(_)) => Err(not_utf8("HOSTNAME")),
        name => Ok(name.ok().filter(|name| !name.is_empty())),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn default_address_accepts_ipv4_and_ipv6() {
        let listener = listener(&EVERY_ADDRESS.replace(":8080", ":0")).await.unwrap();
        let bound = listener.local_addr().unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, bound.port())).await.unwrap();
        // A machine without IPv6 has no such loopback address.
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_ok() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, bound.port())).await.unwrap();
        }
    }
}
