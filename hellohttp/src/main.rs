//! Runs the library's server as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::run(hellohttp::PROGRAM, hellohttp::serve)
}
