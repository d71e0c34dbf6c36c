//! `kubetester describe`: prints the messages of a gRPC server's methods as JSON templates.

use std::process::ExitCode;

use clap::Args;
use prost_reflect::{MessageDescriptor, MethodDescriptor, ServiceDescriptor};

use super::{
    CliError, OK, USAGE,
    list::{Connection, line},
    output,
};
use crate::{
    method::{MethodName, template},
    target::Target,
};

const EXAMPLES: &str = "Examples:
  kubetester describe grpc://greeter:50051
  kubetester describe grpc://greeter:50051 helloworld.Greeter/SayHello";

/// Describe the services, methods and messages of a gRPC server, by reflection
///
/// Messages are JSON templates, ready for --data. Exits 0 when the server describes the symbol, 2 when there is no such
/// symbol, and 3 when the server does not support reflection or cannot be reached.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Describe {
    /// Target of the gRPC server, as for `kubetester load`
    target: Target,

    /// Service, method (pkg.Service/Method) or message to describe [default: all services]
    symbol: Option<String>,

    #[command(flatten)]
    connection: Connection,
}

// === impl Describe ===

impl Describe {
    pub(super) async fn run(self) -> Result<ExitCode, CliError> {
        let text = match self.symbol.as_deref() {
            Some(symbol) => self.one(symbol).await?,
            None => self.all().await?,
        };
        output::write(text.as_bytes())?;
        Ok(ExitCode::from(OK))
    }

    async fn all(&self) -> Result<String, CliError> {
        let Self { target, connection, .. } = self;
        let caller = connection.open(target).await?;
        let mut text = String::new();
        for name in connection.ask(target, caller.services()).await? {
            match connection.ask(target, caller.symbol(&name)).await {
                Ok(pool) => text.extend(pool.get_service_by_name(&name).map(|service| of_service(&service))),
                Err(error) => text += &line(&format!("{name}: {error}")),
            }
        }
        Ok(text)
    }

    async fn one(&self, symbol: &str) -> Result<String, CliError> {
        let Self { target, connection, .. } = self;
        let caller = connection.open(target).await?;
        let (of, method) = match symbol.trim_start_matches('/').split_once('/') {
            Some((service, method)) => (service, Some(method)),
            None => (symbol, None),
        };
        let pool = connection.ask(target, caller.symbol(of)).await?;
        let Some(method) = method else {
            let service = pool.get_service_by_name(of).map(|service| of_service(&service));
            let message = || pool.get_message_by_name(of).map(|message| of_message(&message));
            return service.or_else(message).ok_or_else(|| {
                CliError::new(USAGE, format!("{target}: {of} is neither a service nor a message"))
            });
        };
        let name: MethodName = format!("{of}/{method}").parse().map_err(|why| CliError::new(USAGE, why))?;
        let method = crate::method::find(&pool, &name);
        method
            .map(|method| of_method(&method))
            .map_err(|error| CliError::new(USAGE, format!("{target}: {error}")))
    }
}

fn of_service(service: &ServiceDescriptor) -> String {
    let methods: String = service.methods().map(|method| of_method(&method)).collect();
    line(service.full_name()) + &methods
}

fn of_method(method: &MethodDescriptor) -> String {
    let stream = |streams| if streams { "stream " } else { "" };
    let (input, output) = (method.input(), method.output());
    let (client, server) = (stream(method.is_client_streaming()), stream(method.is_server_streaming()));
    let service = method.parent_service();
    line(&format!("  {}/{}", service.full_name(), method.name()))
        + &line(&format!("    request  {client}{} {}", input.full_name(), template(&input)))
        + &line(&format!("    response {server}{} {}", output.full_name(), template(&output)))
}

fn of_message(message: &MessageDescriptor) -> String {
    line(&format!("{} {}", message.full_name(), template(message)))
}
