//! The servers of this crate over real sockets, byte for byte.

#![allow(clippy::unwrap_used)]

mod admin;
mod grpc;
mod http;
mod limits;
mod requests;
