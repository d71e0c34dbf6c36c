//! `kubetester echo`: runs the echo server, or its client.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use clap::{ArgAction, Args};
use service::{Identity, Instance, Shutdown, listen};
use tokio::net::lookup_host;
use tokio_util::sync::CancellationToken;

use super::{COULD_NOT_RUN, CliError, OK, USAGE, call::Call, nonzero_duration, output};
use crate::target::Target;

/// The maximum time for calls in flight to finish after SIGTERM.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);

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
    /// addresses of the name
    #[arg(short = 'h', long, value_name = "HOST", default_value = "0.0.0.0:8080")]
    host: String,

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
        let address = self.address().await?;
        let listener = listen::address(address, "--host");
        let listener = listener.map_err(|error| CliError::new(COULD_NOT_RUN, error.to_string()))?;
        let address = listener.local_addr().unwrap_or(address);
        let hostname = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
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

    /// Returns the address to serve on.
    async fn address(&self) -> Result<SocketAddr, CliError> {
        let host = &self.host;
        let failed = |why: String| CliError::new(USAGE, format!("cannot serve on {host:?}: {why}"));
        let mut addresses = lookup_host(host).await.map_err(|error| failed(error.to_string()))?;
        addresses.next().ok_or_else(|| failed("the name has no addresses".to_owned()))
    }
}
