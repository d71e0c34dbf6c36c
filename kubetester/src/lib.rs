//! The tool: runs the system on one machine, sends load, and says where the calls landed.
//!
//! [`cli`] has one file for each subcommand; what they do is in rooms that know nothing of a command line.
//!
//! To send load and judge it, in the order a call meets them:
//!
//! - [`target`]: what the user wants to call.
//! - [`transport`]: how a call travels, over HTTP/1.1 or gRPC, and why it failed.
//! - [`method`]: which gRPC method is called, with what, and how its answers are read.
//! - [`engine`]: when the next call is made, and by which caller.
//! - [`pod_name`]: which pod an answer came from, [`sanitize`]: its name, fit to be shown.
//! - [`tally`]: what is counted, by each crew for itself.
//! - [`balance`], [`verdict`]: whether the calls were spread, in figures and in words; which causes are possible depends
//!   on the [`conditions`]. [`expect`]: whether that is what was expected.
//! - [`result`]: all of it, as one document. [`compare`]: several of them side by side, [`gateway`]: those of
//!   a gateway's routes, [`diff`]: before and after. [`render`]: as a page of text, [`report`]: as a page of HTML.
//!
//! To break the system, and see what it costs: [`drill`].
//!
//! To run the system:
//!
//! - [`demo`]: gateway, backends and what stands between them, in this process.
//! - [`dns`]: a real DNS server with names that change while it runs.
//! - [`loopback`]: addresses that two systems on one machine do not share.

pub mod balance;
pub mod cli;
pub mod compare;
pub mod conditions;
pub mod demo;
pub mod diff;
pub mod dns;
#[cfg(test)]
mod documents;
pub mod drill;
pub mod engine;
pub mod expect;
pub mod gateway;
pub mod loopback;
pub mod method;
pub mod number;
pub mod pod_name;
pub mod render;
pub mod report;
pub mod result;
pub mod sanitize;
pub mod tally;
pub mod target;
pub mod transport;
pub mod verdict;
