//! The real channel over a simulated network, in simulated time.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]
#![allow(unreachable_pub, reason = "the modules of one test program")]

mod cluster;
mod load;
mod network;
mod node;
mod registry;
mod service;

mod all_gone;
mod black_hole;
mod churn;
mod dead_backend;
mod goaway;
mod idle;
mod resolver_down;
mod rolling_restart;
mod streams;
