//! Runs the library's server as a program.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Unlike glibc's allocator, it returns the memory of a flood of requests to the system.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    service::run(ticketing::PROGRAM, ticketing::serve)
}
