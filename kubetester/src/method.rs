//! The gRPC method that is called: its descriptor, its encoded request, and the reader of its responses.
//!
//! The descriptors of a method are compiled from .proto files (`protos`), are built in for the methods of this system, or
//! come from the server by reflection, which is part of `transport`.

mod answer;
mod choice;
mod descriptors;
mod name;
mod protos;
mod request;
mod template;

use bytes::Bytes;
use http::uri::PathAndQuery;
use prost_reflect::{DescriptorPool, MessageDescriptor, MethodDescriptor};

pub use self::{
    answer::{EncodedResponse, Reader},
    choice::MethodOptions,
    descriptors::Files,
    name::MethodName,
    template::template,
};

/// The default method.
pub const HELLO: &str = "hello.Hello/SayHello";

/// The default method of streams: most servers have it, and its streams stay open.
pub const WATCH: &str = "grpc.health.v1.Health/Watch";

/// A method and its request.
#[derive(Debug, Clone)]
pub struct Method {
    /// The path of the request.
    pub path: PathAndQuery,
    /// The encoded request.
    pub request: Bytes,
    /// The type of the response message.
    pub output: MessageDescriptor,
    /// True if the method streams responses.
    pub streams: bool,
}

/// The reasons why a method cannot be called, each as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    /// The request does not fit the method, or there is no such method.
    #[error("{0}")]
    Usage(String),
    /// The server does not describe its methods.
    #[error("{0}")]
    UnknownMethods(String),
    /// The server has no reflection.
    #[error("{0}")]
    NoReflection(String),
}

// === impl Method ===

impl Method {
    /// Finds the method in `pool` and encodes `json` as its request.
    ///
    /// # Errors
    ///
    /// Fails if there is no such method, if it takes a stream of requests, or if the JSON does not fit.
    pub fn find(pool: &DescriptorPool, name: &MethodName, json: &str) -> Result<Self, MethodError> {
        let method = find(pool, name)?;
        if method.is_client_streaming() {
            let why = "takes a stream of requests; only methods that take one can be called";
            return Err(MethodError::Usage(format!("{name} {why}")));
        }
        let path = name.path();
        let request = request::encode(&method.input(), json)?;
        let (output, streams) = (method.output(), method.is_server_streaming());
        Ok(Self { path, request, output, streams })
    }
}

/// Returns the descriptors of this system's own methods and of `grpc.health.v1`.
pub fn built_in() -> DescriptorPool {
    let mut pool = DescriptorPool::decode(proto::DESCRIPTORS)
        .expect("the build made these descriptors of a file that compiles");
    pool.decode_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .expect("the crate's build made these descriptors of a file that compiles");
    pool
}

/// Finds a method in descriptors.
///
/// # Errors
///
/// Fails if there is no such method; the error names the methods that exist.
pub fn find(pool: &DescriptorPool, name: &MethodName) -> Result<MethodDescriptor, MethodError> {
    let Some(service) = pool.get_service_by_name(&name.service) else {
        let services: Vec<_> = pool.services().map(|service| service.full_name().to_owned()).collect();
        return Err(MethodError::Usage(name.no_service(&services)));
    };
    let mut methods = service.methods();
    methods.find(|method| method.name() == name.method).ok_or_else(|| {
        let methods: Vec<_> = service.methods().map(|method| method.name().to_owned()).collect();
        MethodError::Usage(name.no_method(&methods))
    })
}
