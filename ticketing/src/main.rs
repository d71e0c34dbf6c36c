//! The program: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::run(ticketing::PROGRAM, ticketing::serve)
}
