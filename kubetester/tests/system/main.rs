//! The system as a whole: real processes that are killed, real DNS, and continuous load.

#![cfg(target_os = "linux")] // Each pod has a loopback address of its own.
#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

mod call;
mod callers;
mod discovery;
mod drain;
mod gateway;
mod kill;
mod landed;
mod pods;
#[path = "../schema/mod.rs"]
mod schema;
mod servers;
mod streams;
