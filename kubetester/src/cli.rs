//! The command line: one file a subcommand.

mod demo;
mod load;
mod pod;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime;

/// Everything worked, and every expectation held.
const OK: u8 = 0;
/// It ran, and an expectation did not hold.
const FAILED: u8 = 1;
/// It could not run at all. 2 is clap's, for bad usage.
const USAGE: u8 = 2;
/// It could not run at all.
const COULD_NOT_RUN: u8 = 3;

/// Runs the hello system on one machine, sends load, and says where the calls landed.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Load(Box<load::Load>),
    Pod(pod::Pod),
}

/// Why a subcommand ended without its result.
#[derive(Debug)]
struct Stop {
    code: u8,
    sentence: String,
}

/// What `main` does: reads the command line, runs the subcommand, and says how it ended.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Demo(demo) => block_on(demo.run()),
        Command::Load(load) => block_on(load.run()),
        // A program of its own, with a runtime of its own.
        Command::Pod(pod) => pod.run(),
    }
}

fn block_on(subcommand: impl Future<Output = Result<ExitCode, Stop>>) -> ExitCode {
    let runtime = match runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Stop::new(COULD_NOT_RUN, format!("cannot start: {error}")).report(),
    };
    let ended = runtime.block_on(subcommand);
    // What still runs (a lookup that hangs, say) must not hold up the exit.
    runtime.shutdown_background();
    ended.unwrap_or_else(|stop| stop.report())
}

// === impl Stop ===

impl Stop {
    fn new(code: u8, sentence: impl Into<String>) -> Self {
        Self { code, sentence: sentence.into() }
    }

    fn report(&self) -> ExitCode {
        anstream::eprintln!("kubetester: {}", self.sentence);
        ExitCode::from(self.code)
    }
}
