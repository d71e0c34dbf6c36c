//! The hello protocol: `proto/hello.proto`, and the types generated from it at build time.
//!
//! [`hello`] has the messages, the client and the server; [`DESCRIPTORS`] is the encoded
//! `FileDescriptorSet` that server reflection hands out.

/// Package `hello`.
#[allow(missing_docs, unreachable_pub, clippy::unwrap_used)]
pub mod hello {
    tonic::include_proto!("hello");
}

/// The encoded `google.protobuf.FileDescriptorSet` of every file in this crate.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello.binpb"));
