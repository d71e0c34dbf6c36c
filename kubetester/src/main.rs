//! The tool as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    kubetester::cli::main()
}
