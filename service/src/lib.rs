//! The parts that all programs share.
//!
//! Each program is a library with a `Config` (its own flags) and one entry point, `serve(config, listener, instance)`, and a
//! `main.rs` that passes both to [`run()`]. The parts, in the order in which a program uses them:
//!
//! - [`Config`]: the flags that all programs share, and [`Identity`]: the hostname and version in responses.
//! - [`logs`]: logging as text on a terminal and as JSON lines otherwise.
//! - [`listen`]: binds a port on all addresses, IPv4 and IPv6.
//! - [`Shutdown`]: the phases serving, draining and closing, triggered by signals or by a [`Trigger`].
//! - [`Instance`]: a running program; one process may run several.
//! - [`Metrics`]: the metrics of an instance.
//! - [`Admin`]: the admin port: health, readiness, metrics.
//! - [`http`]: serves a router over HTTP/1 and HTTP/2, limits its connections and drains them.
//! - `grpc` (feature `grpc`): serves gRPC with health, reflection and metrics.
//! - [`Problem`]: a failure as a response (RFC 9457).
//! - [`request_id`]: the ID by which a request is found in the logs of all programs.

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

pub use admin::{Admin, Readiness};
pub use config::{AdminAddr, Config, Identity, LogFormat, defaults, parse_duration};
pub use instance::Instance;
pub use metrics::Metrics;
pub use problem::Problem;
pub use run::{Outcome, Program, Serve, run, run_from, variable_not_utf8};
pub use shutdown::{Shutdown, Trigger};
