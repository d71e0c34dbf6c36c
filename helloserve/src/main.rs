//! The gateway as a program: flags, port, signals and exit code are those of every program here.

use std::process::ExitCode;

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    service::run(helloserve::PROGRAM, helloserve::serve)
}
