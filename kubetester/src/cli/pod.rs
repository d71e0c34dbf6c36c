//! `kubetester pod`: one program of the system as a process of its own, so that a drill can kill it for real.

use std::{ffi::OsString, io, process::ExitCode, thread};

use clap::{Args, ValueEnum};
#[cfg(target_os = "linux")]
use rustix::process::Signal;
use service::run_from;

/// Run one program of the system: what a drill or a test starts as a child
#[derive(Debug, Args)]
pub(super) struct Pod {
    /// End when standard input does: a child must not outlive the parent that holds the other end
    #[arg(long)]
    until_stdin_closes: bool,

    /// Which program
    program: Program,

    /// Its own flags
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
            // The kernel ends it even when it is stopped (SIGSTOP), and so cannot see that standard input closed.
            #[cfg(target_os = "linux")]
            if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
                eprintln!("kubetester: cannot bind this process to its parent: {error}");
                return ExitCode::FAILURE;
            }
            thread::spawn(|| {
                // Also an error ends it: there is no parent to be seen then either.
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
