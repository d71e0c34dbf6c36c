//! `kubetester pod`: runs one program of the system as a separate process, so that a drill can kill it.

use std::{ffi::OsString, io, process::ExitCode, thread};

use clap::{Args, ValueEnum};
#[cfg(target_os = "linux")]
use rustix::process::Signal;
use service::run_from;

use super::output;

/// Run one program of the system as the child process of a drill or a test
#[derive(Debug, Args)]
pub(super) struct Pod {
    /// Exit when standard input closes, so that the child does not outlive its parent
    #[arg(long)]
    until_stdin_closes: bool,

    /// Program to run
    program: Program,

    /// Flags of the program
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Program {
    Hellogrpc,
    Hellohttp,
    Helloserve,
}

// === impl Pod ===

impl Pod {
    pub(super) fn run(self) -> ExitCode {
        if self.until_stdin_closes {
            // A process that is stopped (SIGSTOP) cannot notice that standard input was closed, so the kernel kills it.
            #[cfg(target_os = "linux")]
            if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
                output::print_error(format_args!("cannot bind this process to its parent: {error}"));
                return ExitCode::FAILURE;
            }
            thread::spawn(|| {
                // An error also means that the parent is gone.
                drop(io::copy(&mut io::stdin(), &mut io::sink()));
                std::process::exit(1);
            });
        }
        let arguments = |program: service::Program| {
            [OsString::from(program.name)].into_iter().chain(self.arguments).collect::<Vec<_>>()
        };
        match self.program {
            Program::Hellogrpc => {
                run_from(hellogrpc::PROGRAM, arguments(hellogrpc::PROGRAM), hellogrpc::serve)
            }
            Program::Hellohttp => {
                run_from(hellohttp::PROGRAM, arguments(hellohttp::PROGRAM), hellohttp::serve)
            }
            Program::Helloserve => {
                run_from(helloserve::PROGRAM, arguments(helloserve::PROGRAM), helloserve::serve)
            }
        }
    }
}
