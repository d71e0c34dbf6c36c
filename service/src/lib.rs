//! The parts that all programs share.
//!
//! A program is a thin `main.rs` over a library. The library has a `Config` (its own flags) and one entry,
//! `serve(config, listener, instance)`; [`run()`] does the rest. The parts, in the order in which a program uses them:
//!
//! - [`Config`]: the flags all programs have, and [`Identity`]: the name and version in responses.
//! - [`logs`]: text on a terminal, JSON lines otherwise.
//! - [`listen`]: binds a port on all addresses.
//! - [`Shutdown`]: serving, draining, closing; triggered by signals or by a [`Trigger`].
//! - [`Instance`]: one running program; a process may have several.
//! - [`Metrics`]: the metrics of an instance.
//! - [`Admin`]: the admin port: health, readiness, metrics.
//! - [`http`]: serves a router over HTTP/1 or HTTP/2, drains it, and limits the age of connections.
//! - `grpc` (feature `grpc`): serves gRPC with health, reflection and metrics.
//! - [`Problem`]: the response to a failure. [`request_id`]: the ID that finds a request in all logs.

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
