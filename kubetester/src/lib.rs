//! Runs the system on one machine, sends load, and says where the calls landed.

pub mod demo;
pub mod dns;
pub mod loopback;
