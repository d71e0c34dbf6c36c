//! Test support for all crates (feature `testing`): an HTTP client that shows the raw bytes, programs as processes, a
//! strict parser of metrics, and a Kubernetes API server.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

pub mod api_server;
mod client;
mod exposition;
mod process;

use std::time::Duration;

use tokio::time;

pub use self::{
    client::{Client, Response},
    exposition::Exposition,
    process::{Exit, Running, Signal, exit_of},
};

/// The time after which a test has hung, even on a busy machine.
const BOUND: Duration = Duration::from_secs(60);

/// Waits for a future that should end soon.
///
/// # Panics
///
/// If it has not ended after a minute.
pub async fn bounded<F: Future>(future: F) -> F::Output {
    time::timeout(BOUND, future).await.expect("the future should end within a minute")
}
