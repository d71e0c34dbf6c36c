//! The command-line tool: runs the system on one machine, sends load, and reports how calls were spread over pods.
//!
//! [`cli`] has one file per subcommand and handles arguments and output. The other modules do the work and do not
//! depend on the command line.
//!
//! Sending load and judging it, in the order in which a call passes through:
//!
//! - [`target`]: parses the target of the calls.
//! - [`transport`]: sends calls over HTTP/1.1 or gRPC and reports why they failed.
//! - [`method`]: chooses the gRPC method, builds its requests and reads its responses.
//! - [`engine`]: decides when the next call is made, and by which caller. [`streams`] holds streams and opens them again.
//! - [`pod_name`]: finds the pod that a response came from. [`sanitize`] makes text from peers safe to print.
//! - [`tally`]: counts calls, on each worker thread separately.
//! - [`balance`]: computes how evenly calls were spread. [`verdict`] puts it into words and names possible causes,
//!   which depend on the [`conditions`] of the load. [`expect`] checks the expectations of the command line.
//! - [`result`]: the result as a JSON document. [`compare`] sets several results side by side, [`gateway`] lists the
//!   routes of a gateway, and [`diff`] compares two documents. [`render`] prints text, [`report`] writes HTML.
//!
//! Breaking the system and measuring the effect: [`drill`].
//!
//! Running the system:
//!
//! - [`demo`]: gateway, backends and the proxy between them, in this process.
//! - [`dns`]: a real DNS server whose names change while it runs.
//! - [`loopback`]: blocks of loopback addresses, one per system.

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
pub mod streams;
pub mod tally;
pub mod target;
pub mod transport;
pub mod verdict;
