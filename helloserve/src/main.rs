//! The main function of the gateway; `service::run` parses the flags and handles signals.

use std::process::ExitCode;

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    service::run(helloserve::PROGRAM, helloserve::serve)
}
