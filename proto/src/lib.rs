//! The protocols of the gRPC servers: the files in `proto/`, and the types generated from them at build time.
//!
//! Each module is a protobuf package, with its messages, clients and servers. The constants are the encoded
//! `FileDescriptorSet`s that server reflection hands out, and that health and metrics take the names from.

/// Package `hello`.
#[allow(missing_docs, unreachable_pub, clippy::unwrap_used)]
pub mod hello {
    tonic::include_proto!("hello");
}

/// Package `helloworld`.
#[allow(missing_docs, unreachable_pub, clippy::unwrap_used)]
pub mod helloworld {
    tonic::include_proto!("helloworld");
}

/// Package `echo`.
#[allow(missing_docs, unreachable_pub, clippy::unwrap_used)]
pub mod echo {
    tonic::include_proto!("echo");
}

/// Package `message`.
#[allow(missing_docs, unreachable_pub, clippy::unwrap_used)]
pub mod message {
    tonic::include_proto!("message");
}

/// Package `ticketing`.
#[allow(missing_docs, unreachable_pub, clippy::unwrap_used)]
pub mod ticketing {
    tonic::include_proto!("ticketing");
}

/// The descriptors of every file in this crate.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/all.binpb"));

/// The descriptors of the greeting protocols: `hello`, `helloworld`, `echo` and `message`.
pub const GREETING_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/greetings.binpb"));

/// The descriptors of `ticketing`.
pub const TICKETING_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ticketing.binpb"));
