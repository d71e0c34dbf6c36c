//! `kubetester list`: lists the services and methods of a gRPC server.

use std::{num::NonZeroUsize, process::ExitCode, time::Duration};

use clap::Args;
use http::{HeaderName, HeaderValue};
use tokio::time::timeout;

use super::{COULD_NOT_RUN, CliError, OK, USAGE, nonzero_duration, output};
use crate::{
    method::MethodError,
    sanitize,
    target::Target,
    transport::{self, Caller, Setup, Tls, Transport},
};

const EXAMPLES: &str = "Examples:
  kubetester list grpc://greeter:50051
  kubetester list grpcs://api.example.com:443 -H 'authorization: Bearer TOKEN'";

/// List the services and methods of a gRPC server, by reflection
///
/// Exits 0 when the server lists them, 2 on bad usage, and 3 when it does not or cannot be reached.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct List {
    /// Target to ask, as for `kubetester load`
    target: Target,

    #[command(flatten)]
    connection: Connection,
}

/// The flags of a connection for server reflection.
#[derive(Debug, Args)]
pub(super) struct Connection {
    /// Give up after this time
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = nonzero_duration)]
    timeout: Duration,

    /// Send this metadata; may be repeated
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = transport::header)]
    header: Vec<(HeaderName, HeaderValue)>,

    #[command(flatten)]
    tls: Tls,
}

// === impl List ===

impl List {
    pub(super) async fn run(self) -> Result<ExitCode, CliError> {
        let Self { target, connection } = self;
        let caller = connection.open(&target).await?;
        let mut text = String::new();
        for name in connection.ask(&target, caller.services()).await? {
            text += &line(&name);
            let pool = match connection.ask(&target, caller.symbol(&name)).await {
                Ok(pool) => pool,
                Err(error) => {
                    text += &line(&format!("  {error}"));
                    continue;
                }
            };
            let methods = pool.get_service_by_name(&name).map(|service| service.methods().collect());
            let methods: Vec<_> = methods.unwrap_or_default();
            for method in methods {
                let streams = match (method.is_client_streaming(), method.is_server_streaming()) {
                    (false, false) => "",
                    (false, true) => "  (streams responses)",
                    (true, false) => "  (streams requests)",
                    (true, true) => "  (streams requests and responses)",
                };
                text += &line(&format!("  {name}/{}{streams}", method.name()));
            }
        }
        output::write(text.as_bytes())?;
        Ok(ExitCode::from(OK))
    }
}

// === impl Connection ===

impl Connection {
    /// Connects to a target.
    pub(super) async fn open(&self, target: &Target) -> Result<Caller, CliError> {
        let setup = Setup {
            headers: self.header.iter().cloned().collect(),
            tls: self.tls.clone(),
            ..Setup::default()
        };
        let transport = Transport::open(target, setup, Some(self.timeout)).await?;
        Ok(transport.callers(NonZeroUsize::MIN).swap_remove(0))
    }

    /// Waits for an answer of server reflection.
    pub(super) async fn ask<T>(
        &self,
        target: &Target,
        answer: impl Future<Output = Result<T, MethodError>>,
    ) -> Result<T, CliError> {
        let failed = |code, why: String| {
            let why = why.replace("; say what its methods are with --proto FILE", "");
            Err(CliError::new(code, sanitize::reason(format!("{target}: {why}"))))
        };
        match timeout(self.timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(MethodError::Usage(why))) => failed(USAGE, why),
            Ok(Err(MethodError::UnknownMethods(why) | MethodError::NoReflection(why))) => {
                failed(COULD_NOT_RUN, why)
            }
            Err(_) => {
                let time = humantime::format_duration(self.timeout);
                failed(COULD_NOT_RUN, format!("no answer to reflection within {time}"))
            }
        }
    }
}

/// Returns a line that is sanitized for a terminal.
pub(super) fn line(text: &str) -> String {
    sanitize::excerpt(text, 16 * 1024) + "\n"
}
