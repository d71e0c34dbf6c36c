//! The real channel over a simulated network, in simulated time.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]
#![allow(unreachable_pub, reason = "the rooms of one test program")]

mod load;
mod machine;
mod network;
mod registry;
mod service;
mod world;

mod all_gone;
mod black_hole;
mod churn;
mod dead_backend;
mod goaway;
mod idle;
mod resolver_down;
mod rolling_restart;
mod streams;
