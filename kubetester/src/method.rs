//! The gRPC method that is called: its descriptor, its request, encoded once, and what is read from its responses.
//!
//! The descriptors of a method are compiled from .proto files (`protos`), are built in for the methods of this system, or
//! come from the server by reflection, which is the transport's work.

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
    answer::{PodExtractor, Reader},
    choice::Choice,
    descriptors::Files,
    name::MethodName,
    template::template,
};

/// The method that is called when none is named.
pub const HELLO: &str = "hello.Hello/SayHello";

/// The method whose streams are held when none is named: most servers have it, and its streams stay open.
pub const WATCH: &str = "grpc.health.v1.Health/Watch";

/// A method and the request that is made of it.
#[derive(Debug, Clone)]
pub struct Method {
    /// The path of its URL.
    pub path: PathAndQuery,
    /// The request, encoded.
    pub request: Bytes,
    /// The message that answers.
    pub output: MessageDescriptor,
    /// True if any number of messages answers, and the call lasts until the last of them.
    pub streams: bool,
}

/// Why a method cannot be called; each is a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The request does not fit the method, or there is no such method.
    #[error("{0}")]
    Usage(String),
    /// The server does not say what its methods are.
    #[error("{0}")]
    UnknownMethods(String),
    /// The server has no reflection.
    #[error("{0}")]
    NoReflection(String),
}

// === impl Method ===

impl Method {
    /// Finds the method in what is known, and makes its request of `json`.
    ///
    /// # Errors
    ///
    /// Fails if there is no such method, if it takes a stream of requests, or if the JSON does not fit.
    pub fn find(pool: &DescriptorPool, name: &MethodName, json: &str) -> Result<Self, Unfit> {
        let method = find(pool, name)?;
        if method.is_client_streaming() {
            let why = "takes a stream of requests; only methods that take one can be called";
            return Err(Unfit::Usage(format!("{name} {why}")));
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
pub fn find(pool: &DescriptorPool, name: &MethodName) -> Result<MethodDescriptor, Unfit> {
    let Some(service) = pool.get_service_by_name(&name.service) else {
        let services: Vec<_> = pool.services().map(|service| service.full_name().to_owned()).collect();
        return Err(Unfit::Usage(name.no_service(&services)));
    };
    let mut methods = service.methods();
    methods.find(|method| method.name() == name.method).ok_or_else(|| {
        let methods: Vec<_> = service.methods().map(|method| method.name().to_owned()).collect();
        Unfit::Usage(name.no_method(&methods))
    })
}
