//! The command line, with one file per subcommand. `load` and `compare` share `options` and `watch`.

mod call;
mod compare;
mod demo;
mod describe;
mod diff;
mod drill;
mod echo;
mod generated;
mod list;
mod load;
mod options;
mod output;
mod pod;
mod report;
mod watch;

use std::{env, ffi::OsString, fmt, process::ExitCode, time::Duration};

use clap::{CommandFactory as _, Parser, Subcommand, error::ErrorKind};
use tokio::runtime;
use tokio_util::sync::CancellationToken;

use crate::transport::Unreachable;

/// The exit code when the command succeeded and every expectation held.
const OK: u8 = 0;
/// The exit code when the command ran and an expectation did not hold.
const FAILED: u8 = 1;
/// The exit code for bad usage, the same as clap's.
const USAGE: u8 = 2;
/// The exit code when the command could not run, or its output could not be written.
const COULD_NOT_RUN: u8 = 3;
/// The exit code after an interrupt, as a shell reports SIGINT.
const INTERRUPTED: u8 = 130;

const EXAMPLES: &str = r#"Examples:
  kubetester demo
  kubetester load http://127.0.0.1:8200/hellogrpc -n 3000
  kubetester load dns:///greeter:50051 --method helloworld.Greeter/SayHello -d '{"name": "Ann"}'
  kubetester drill kill --max-errors 0"#;

/// Runs the hello system on one machine, sends load, and reports which pods answered.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Call(Box<call::Call>),
    Compare(Box<compare::Compare>),
    Completions(generated::Completions),
    Demo(demo::Demo),
    Diff(diff::Compared),
    Describe(describe::Describe),
    Drill(Box<drill::Drill>),
    Echo(echo::Echo),
    List(list::List),
    Load(Box<load::Load>),
    Man(generated::Manual),
    Version(generated::Version),
}

/// The program of a pod. It is not for users: drills and tests start it.
#[derive(Debug, Parser)]
#[command(name = "kubetester pod", version)]
struct PodProgram {
    #[command(flatten)]
    pod: pod::Pod,
}

/// The error that ended a subcommand, with its exit code.
#[derive(Debug)]
struct CliError {
    code: u8,
    message: String,
}

/// Runs the program: parses the command line, runs the subcommand, and returns the exit code.
pub fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().collect();
    // A pod has a runtime of its own. It is not among the commands, so that clap does not suggest it.
    if arguments.get(1).is_some_and(|first| first == "pod") {
        return match PodProgram::try_parse_from(&arguments[1..]) {
            Ok(program) => program.pod.run(),
            Err(error) => output::print_usage(&error),
        };
    }
    if let Some(ended) = crate::drill::processes::guard_main(&arguments) {
        return ended;
    }
    let command = match Cli::try_parse_from(&arguments) {
        Ok(Cli { command }) => command,
        Err(error) => {
            return match not_utf8_variable(&error, &arguments) {
                Some(error) => error.report(),
                None => output::print_usage(&error),
            };
        }
    };
    match command {
        Command::Call(call) => block_on(call.run()),
        Command::Compare(compare) => block_on(compare.run()),
        Command::Demo(demo) => block_on(demo.run()),
        Command::Describe(describe) => block_on(describe.run()),
        Command::Echo(echo) => block_on(echo.run()),
        Command::List(list) => block_on(list.run()),
        Command::Drill(drill) => block_on(drill.run()),
        Command::Load(load) => block_on(load.run()),
        Command::Completions(completions) => completions.run(),
        Command::Diff(compared) => compared.run(),
        Command::Man(manual) => manual.run(),
        Command::Version(version) => version.run(),
    }
}

fn block_on(subcommand: impl Future<Output = Result<ExitCode, CliError>>) -> ExitCode {
    let runtime = match runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return CliError::new(COULD_NOT_RUN, format!("cannot start: {error}")).report(),
    };
    let ended = runtime.block_on(subcommand);
    // Tasks that still run, such as a DNS lookup that hangs, must not delay the exit.
    runtime.shutdown_background();
    ended.unwrap_or_else(|error| error.report())
}

/// Returns a token that the first Ctrl-C cancels, which ends the load and prints its result. The second Ctrl-C exits.
fn stop_on_interrupt() -> CancellationToken {
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            cancel.cancel();
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(INTERRUPTED.into());
        }
    });
    stop
}

/// Returns the exit code of a load that ran. A failed expectation takes precedence over an interrupt.
fn exit_code(held: bool, interrupted: bool) -> ExitCode {
    ExitCode::from(match (held, interrupted) {
        (false, _) => FAILED,
        (true, true) => INTERRUPTED,
        (true, false) => OK,
    })
}

/// Returns an error that names the environment variable of the subcommand's flags that is not UTF-8, if that is what
/// clap's error is about; clap does not name it.
fn not_utf8_variable(error: &clap::Error, arguments: &[OsString]) -> Option<CliError> {
    if error.kind() != ErrorKind::InvalidUtf8 || arguments.iter().any(|argument| argument.to_str().is_none())
    {
        return None;
    }
    let command = Cli::command();
    let subcommand = command.find_subcommand(arguments.get(1)?)?;
    service::variable_not_utf8(subcommand).map(|name| not_utf8(&name))
}

fn not_utf8(variable: &str) -> CliError {
    CliError::new(USAGE, format!("the environment variable {variable} is not valid UTF-8"))
}

fn nonzero_duration(text: &str) -> Result<Duration, String> {
    match service::parse_duration(text)? {
        Duration::ZERO => Err("the time is zero; give at least 1ms".to_owned()),
        time => Ok(time),
    }
}

// === impl CliError ===

impl CliError {
    fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    fn report(&self) -> ExitCode {
        output::print_error(&self.message);
        ExitCode::from(self.code)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Unreachable> for CliError {
    fn from(error: Unreachable) -> Self {
        let code = match error {
            Unreachable::Usage(_) => USAGE,
            Unreachable::Peer { .. } | Unreachable::UnknownMethods { .. } => COULD_NOT_RUN,
        };
        Self::new(code, error.to_string())
    }
}
