//! Tests of the HTTP and gRPC servers over real sockets.

#![allow(clippy::unwrap_used)]

mod admin;
mod grpc;
mod http;
mod limits;
mod requests;
