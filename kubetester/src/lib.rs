//! Runs the system on one machine, sends load, and says where the calls landed.

pub mod answered;
pub mod balance;
pub mod cli;
pub mod demo;
pub mod dns;
pub mod engine;
pub mod expect;
pub mod loopback;
pub mod render;
pub mod result;
pub mod tally;
pub mod target;
pub mod transport;
pub mod verdict;
