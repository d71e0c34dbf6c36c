//! The main function of every program, from the command line to the exit code.

use std::{error::Error, ffi::OsString, io, process::ExitCode};

use clap::{
    Args, Command, FromArgMatches as _,
    error::{ContextKind, ContextValue, ErrorKind},
};
use tokio::{net::TcpListener, runtime};
use tracing::{info, warn};

use crate::{Config, Instance, Shutdown, health, listen, logs, open_files};

/// The exit code of a program that could not start or serve.
const FAILED: u8 = 1;
/// The exit code after an error in the command line or the environment.
const USAGE: u8 = 2;

/// The maximum length of an invalid value in an error message, in characters.
const MAX_EXCERPT: usize = 100;

/// The name, version and port of a program.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The name on the command line, e.g. `hellogrpc`.
    pub name: &'static str,
    /// The purpose in one sentence, for `--help`.
    pub about: &'static str,
    /// The version in responses unless `APP_VERSION` is set, e.g. `v1-hellogrpc`.
    pub version: &'static str,
    /// The port unless `LISTEN_ADDR` is set.
    pub port: u16,
}

/// The outcome of a program; the error is one sentence.
pub type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// The entry point of a program: any `async fn(C, TcpListener, Instance) -> Outcome`, where `C` are its own flags.
pub trait Serve<C> {
    /// Serves until the instance shuts down.
    fn serve(self, config: C, listener: TcpListener, instance: Instance) -> impl Future<Output = Outcome>;
}

impl<C, S, F> Serve<C> for S
where
    S: FnOnce(C, TcpListener, Instance) -> F,
    F: Future<Output = Outcome>,
{
    fn serve(self, config: C, listener: TcpListener, instance: Instance) -> impl Future<Output = Outcome> {
        self(config, listener, instance)
    }
}

/// Runs a program: parses its flags (`C` and those of [`Config`]), starts logging, binds its port and the admin port, and
/// runs `serve` until a signal ends it. Returns the exit code for `main`.
///
/// The exit code is 0 after a signal (also if requests had to be aborted), 1 if the program cannot start or serve, and 2
/// if a flag is invalid. Each failure is one line on standard error.
pub fn run<C: Args>(program: Program, serve: impl Serve<C>) -> ExitCode {
    run_from(program, std::env::args_os(), serve)
}

/// Does the same as [`run`] with a given command line, whose first argument is the program's name.
pub fn run_from<C: Args>(
    program: Program,
    arguments: impl IntoIterator<Item = OsString>,
    serve: impl Serve<C>,
) -> ExitCode {
    let (config, own) = match parse::<C>(program, arguments) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    match start(program, &config, own, serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", program.name);
            ExitCode::from(FAILED)
        }
    }
}

fn start<C>(program: Program, config: &Config, own: C, serve: impl Serve<C>) -> Outcome {
    if config.health {
        let addr = config.admin_addr.0.ok_or("--health needs the admin port, but ADMIN_ADDR is empty")?;
        return health::check(addr).map_err(Into::into);
    }
    logs::init(config.log_filter.clone(), config.log_format);
    open_files::raise_limit();
    let runtime = match config.worker_threads.get() {
        1 => runtime::Builder::new_current_thread().enable_all().build(),
        threads => runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    }
    .map_err(|error| format!("starting the runtime failed: {error}"))?;
    let result = runtime.block_on(supervise(program, config, own, serve));
    // Does not wait for tasks that still run.
    runtime.shutdown_background();
    result
}

/// Binds the ports, then serves until the shutdown.
async fn supervise<C>(program: Program, config: &Config, own: C, serve: impl Serve<C>) -> Outcome {
    // Installed first, because the default action of a signal that arrives during the start is to kill the process.
    let shutdown = Shutdown::from_signals(config.drain_delay, config.shutdown_timeout)
        .map_err(|error| format!("installing the signal handlers failed: {error}"))?;
    let listener = match config.listen_addr {
        Some(addr) => listen::address(addr, "--listen-addr")?,
        None => listen::every_address(program.port, "--listen-addr")?,
    };
    let admin = match config.admin_addr.0 {
        Some(addr) => Some(listen::address(addr, "--admin-addr")?),
        None => None,
    };
    let identity = config.identity(program.version);
    info!(
        listen = %listener.local_addr()?,
        admin = admin.as_ref().and_then(|admin| admin.local_addr().ok()).map(tracing::field::display),
        version = identity.version,
        hostname = identity.hostname,
        program = program.name,
        "program started"
    );
    let instance = Instance::new(identity, shutdown.clone());
    let admin_port = {
        let pages = instance.admin.clone();
        async move {
            match admin {
                Some(listener) => pages.serve(listener).await,
                None => std::future::pending().await,
            }
        }
    };
    tokio::select! {
        result = serve.serve(own, listener, instance) => {
            result?;
            info!("stopped");
        }
        () = shutdown.expired() => warn!(
            timeout = ?config.shutdown_timeout,
            "stopped; requests that did not end within the shutdown timeout were aborted"
        ),
        () = admin_port => {}
    }
    Ok(())
}

/// Parses the flags, or returns the exit code.
fn parse<C: Args>(
    program: Program,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<(Config, C), ExitCode> {
    let own = C::augment_args(Command::new(program.name)).next_help_heading("Common options");
    // `about` is set last, because clap takes it from the doc comments of the flags too.
    let command = Config::augment_args(own)
        .about(program.about)
        .long_about(None)
        .version(env!("CARGO_PKG_VERSION"))
        .mut_arg("listen_addr", |arg| {
            arg.help(format!(
                "Address and port to listen on [default: port {} on every address, IPv4 and IPv6]",
                program.port
            ))
        })
        .mut_arg("app_version", |arg| {
            arg.help(format!("Version in responses [default: {}]", program.version))
        });
    if let Some(name) = variable_not_utf8(&command) {
        eprintln!("{}: the environment variable {name} is not valid UTF-8", program.name);
        return Err(ExitCode::from(USAGE));
    }
    let read = || {
        let matches = command.try_get_matches_from(arguments)?;
        Ok((Config::from_arg_matches(&matches)?, C::from_arg_matches(&matches)?))
    };
    let (config, own) = read().map_err(|error| report(program, error))?;
    if config.drain_delay >= config.shutdown_timeout {
        let (delay, timeout) = (config.drain_delay, config.shutdown_timeout);
        eprintln!(
            "{}: DRAIN_DELAY ({delay:?}) must be shorter than SHUTDOWN_TIMEOUT ({timeout:?}), which includes it",
            program.name
        );
        return Err(ExitCode::from(USAGE));
    }
    Ok((config, own))
}

/// Returns the first environment variable of a flag whose value is not UTF-8; clap's own error does not name it.
pub fn variable_not_utf8(command: &Command) -> Option<String> {
    let names = command.get_arguments().filter_map(clap::Arg::get_env);
    names
        .filter(|name| std::env::var_os(name).is_some_and(|value| value.to_str().is_none()))
        .map(|name| name.to_string_lossy().into_owned())
        .next()
}

/// Prints `--help`, `--version`, or an error in the flags as one line. Returns the exit code.
fn report(program: Program, mut error: clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return match error.print() {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                eprintln!("{}: cannot write to standard output: {error}", program.name);
                ExitCode::FAILURE
            }
            _ => ExitCode::SUCCESS,
        };
    }
    // The value of a flag may be a page of JSON, and the error follows it.
    if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) {
        let value = excerpt(value);
        error.insert(ContextKind::InvalidValue, ContextValue::String(value));
    }
    let text = error.render().to_string();
    // The first paragraph has the error with the flag and its environment variable; usage and tips follow.
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    eprintln!("{}: {}", program.name, line.trim_start_matches("error: "));
    ExitCode::from(USAGE)
}

/// Returns the beginning of a text, on one line.
fn excerpt(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_EXCERPT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
