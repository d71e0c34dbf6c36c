//! The program: see the library.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Unlike glibc's allocator, it returns the memory of a flood of calls to the system.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    service::run(hellogrpc::PROGRAM, hellogrpc::serve)
}
