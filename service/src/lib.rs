//! The parts that every program of the system shares, so that each program is only what makes it different.
//!
//! A program is a thin `main.rs` over a library. The library has a `Config` (its own flags) and one entry,
//! `serve(config, listener, instance)`; [`run()`] does the rest. The parts, in the order a start meets them:
//!
//! - [`Config`]: the flags all programs have, and [`Identity`]: the name and version a program answers with.
//! - [`logs`]: text on a terminal, JSON lines otherwise.
//! - [`listen`]: binds a port on every address, and says in one sentence why it cannot.
//! - [`Shutdown`]: serving, draining, closing; told by signals or by a [`Trigger`].
//! - [`Instance`]: one running program, of which a process may hold many.
//! - [`Metrics`]: what a scraper sees of one instance.
//! - [`Admin`]: the port beside the real one: health, readiness, metrics.
//! - [`http`]: serves a router over HTTP/1 or HTTP/2, drains it, and limits the age of connections.
//! - `grpc` (feature `grpc`): serves gRPC with health, reflection and metrics.
//! - [`Problem`]: how a failure is answered. [`request_id`]: how one request is found in every log.

mod admin;
mod config;
#[cfg(feature = "grpc")]
pub mod grpc;
mod health;
pub mod http;
mod instance;
pub mod listen;
pub mod logs;
pub mod metrics;
mod open_files;
mod problem;
pub mod request_id;
mod run;
mod shutdown;
#[cfg(all(unix, feature = "testing"))]
pub mod testing;

pub use admin::{Admin, Ready};
pub use config::{AdminAddr, Config, Identity, LogFormat, defaults, parse_duration};
pub use instance::Instance;
pub use metrics::Metrics;
pub use problem::Problem;
pub use run::{Outcome, Program, Serve, run, run_from};
pub use shutdown::{Shutdown, Trigger};
