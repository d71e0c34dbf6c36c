//! The gateway as a program: flags, port, signals and exit code are those of every program here.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::run(helloserve::PROGRAM, helloserve::serve)
}
