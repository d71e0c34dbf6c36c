//! The whole system in one process, on real sockets of the loopback interface.
//!
//! - [`layout`]: binds the listeners of the programs.
//! - [`system`]: starts the programs.
//! - [`cluster_ip`]: the stand-in for a ClusterIP in front of hellohttp.
//! - [`first_calls`]: makes the first calls and checks that they are spread.
//! - [`ticketing`]: a second system, as child processes.

pub mod cluster_ip;
pub mod first_calls;
pub mod layout;
pub mod system;
pub mod ticketing;
