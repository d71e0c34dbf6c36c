//! The whole system in one process, on real sockets of the loopback interface.
//!
//! - [`layout`]: which program listens where.
//! - [`system`]: starts them.
//! - [`cluster_ip`]: what stands before hellohttp.
//! - [`first_calls`]: shows that the calls are spread.
//! - [`ticketing`]: a second system beside it, as child processes.

pub mod cluster_ip;
pub mod first_calls;
pub mod layout;
pub mod system;
pub mod ticketing;
