//! The whole system in one process.

pub mod cluster_ip;
