//! For tests of the programs (feature `testing`): a client that sees the bytes, the real program as a process, a strict
//! reader of metrics, and an API server of Kubernetes.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

pub mod api_server;
mod client;
mod exposition;
mod process;

use std::time::Duration;

use tokio::time;

pub use self::{
    client::{Answer, Client},
    exposition::Exposition,
    process::{Exit, Running, Signal, exit_of},
};

/// Guards against hangs; nothing in a test takes this long, on however busy a machine.
const BOUND: Duration = Duration::from_secs(60);

/// Waits for what should happen soon.
///
/// # Panics
///
/// When it has not happened after a minute.
pub async fn bounded<F: Future>(future: F) -> F::Output {
    time::timeout(BOUND, future).await.expect("this should have happened long ago")
}
