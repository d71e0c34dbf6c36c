//! From the command line to the exit code: what `main` of every program does.

use std::{error::Error, ffi::OsString, process::ExitCode};

use clap::{
    Args, Command, FromArgMatches as _,
    error::{ContextKind, ContextValue, ErrorKind},
};
use tokio::{net::TcpListener, runtime};
use tracing::{info, warn};

use crate::{Config, Instance, Shutdown, health, listen, logs, open_files};

/// Exit code when the program could not do its work.
const FAILED: u8 = 1;
/// Exit code when the command line, or the environment, is wrong.
const USAGE: u8 = 2;

/// As much of a bad value is repeated, in characters.
const MAX_EXCERPT: usize = 100;

/// A program.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name, as on the command line: `hellogrpc`.
    pub name: &'static str,
    /// The purpose, in one sentence, for `--help`.
    pub about: &'static str,
    /// The version in responses, such as `v1-hellogrpc`, unless `APP_VERSION` is set.
    pub version: &'static str,
    /// The port, unless `LISTEN_ADDR` is set.
    pub port: u16,
}

/// The outcome of a program: success, or an error in one sentence.
pub type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// The entry of a program once it is set up: any `async fn(C, TcpListener, Instance) -> Outcome`, where `C` are its own
/// flags.
pub trait Serve<C> {
    /// Works until the instance shuts down.
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

/// Runs a program: reads its flags (`C`, beside those of [`Config`]), starts to log, binds its port and the admin
/// port, and lets `serve` work until a signal ends it. Returns what `main` should.
///
/// The exit code is 0 after a signal (also when work had to be cut off), 1 when the program cannot start or work,
/// and 2 when a flag is wrong; each failure is one line on standard error.
pub fn run<C: Args>(program: Program, serve: impl Serve<C>) -> ExitCode {
    run_from(program, std::env::args_os(), serve)
}

/// [`run`], with a command line that is not the process' own: the first argument is the program's name.
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
    .map_err(|error| format!("cannot start: {error}"))?;
    let result = runtime.block_on(supervise(program, config, own, serve));
    // Nothing that still runs may hold up the exit.
    runtime.shutdown_background();
    result
}

/// Binds, then serves until the end.
async fn supervise<C>(program: Program, config: &Config, own: C, serve: impl Serve<C>) -> Outcome {
    // Signals first: one that comes while we start must not find the default, which is to die.
    let shutdown = Shutdown::from_signals(config.drain_delay, config.shutdown_timeout)
        .map_err(|error| format!("cannot listen for signals: {error}"))?;
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
        "{} starts", program.name
    );
    let instance = Instance::new(identity, shutdown.clone());
    let watched = {
        let routes = instance.admin.clone();
        async move {
            match admin {
                Some(admin) => routes.serve(admin).await,
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
            "stopped; work that was not done within the shutdown timeout was cut off"
        ),
        () = watched => {}
    }
    Ok(())
}

/// Parses the flags, or returns the exit code.
fn parse<C: Args>(
    program: Program,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<(Config, C), ExitCode> {
    let own = C::augment_args(Command::new(program.name)).next_help_heading("Common options");
    // The text about the program comes last: the flags bring one of their own.
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
            arg.help(format!("Version to answer with [default: {}]", program.version))
        });
    if let Some(name) = not_utf8(&command) {
        eprintln!("{}: the environment variable {name} is not valid UTF-8", program.name);
        return Err(ExitCode::from(USAGE));
    }
    let read = || {
        let matches = command.try_get_matches_from(arguments)?;
        Ok((Config::from_arg_matches(&matches)?, C::from_arg_matches(&matches)?))
    };
    let (config, own) = read().map_err(|error| refuse(program, error))?;
    if config.drain_delay >= config.shutdown_timeout {
        let (delay, timeout) = (config.drain_delay, config.shutdown_timeout);
        eprintln!(
            "{}: DRAIN_DELAY ({delay:?}) must be shorter than SHUTDOWN_TIMEOUT ({timeout:?}), of which it is a part",
            program.name
        );
        return Err(ExitCode::from(USAGE));
    }
    Ok((config, own))
}

/// Returns the first environment variable of a flag whose value is not UTF-8; clap's own error does not name it.
fn not_utf8(command: &Command) -> Option<String> {
    let names = command.get_arguments().filter_map(clap::Arg::get_env);
    names
        .filter(|name| std::env::var_os(name).is_some_and(|value| value.to_str().is_none()))
        .map(|name| name.to_string_lossy().into_owned())
        .next()
}

/// Prints `--help` and `--version` as they are, and what is wrong with the flags as one line.
fn refuse(program: Program, mut error: clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // A closed pipe is no reason to complain.
        drop(error.print());
        return ExitCode::SUCCESS;
    }
    // The value of a flag may be a page of JSON; what is wrong with it comes after it.
    if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) {
        let value = excerpt(value);
        error.insert(ContextKind::InvalidValue, ContextValue::String(value));
    }
    let text = error.render().to_string();
    // What follows the first paragraph is usage and tips. A flag's name is in the paragraph, and its placeholder
    // is the name in the environment.
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    eprintln!("{}: {}", program.name, line.trim_start_matches("error: "));
    ExitCode::from(USAGE)
}

/// The beginning of a text, on one line.
fn excerpt(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_EXCERPT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
