//! Reads the names of services and methods from encoded `FileDescriptorSet`s.

use prost::{DecodeError, Message as _};
use prost_types::{FileDescriptorSet, ServiceDescriptorProto};

/// The descriptors of the services that every gRPC server has.
const COMMON: [&[u8]; 3] = [
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
];

/// A method of a service.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Method {
    /// The path, e.g. `/hello.Hello/SayHello`.
    pub(super) path: String,
    pub(super) client_streaming: bool,
    pub(super) server_streaming: bool,
}

/// Returns the full name of each service, e.g. `hello.Hello`.
///
/// # Errors
///
/// If the descriptors cannot be decoded.
pub(super) fn services(descriptors: &[u8]) -> Result<Vec<String>, DecodeError> {
    Ok(decode(descriptors)?.into_iter().map(|(name, _)| name).collect())
}

/// Returns all methods, including those of health and reflection.
///
/// # Errors
///
/// If the descriptors cannot be decoded.
pub(super) fn methods(descriptors: &[u8]) -> Result<Vec<Method>, DecodeError> {
    let mut methods = Vec::new();
    for encoded in COMMON.into_iter().chain([descriptors]) {
        for (name, service) in decode(encoded)? {
            methods.extend(service.method.iter().map(|method| Method {
                path: format!("/{name}/{}", method.name()),
                client_streaming: method.client_streaming(),
                server_streaming: method.server_streaming(),
            }));
        }
    }
    Ok(methods)
}

/// Returns each service with its full name.
fn decode(encoded: &[u8]) -> Result<Vec<(String, ServiceDescriptorProto)>, DecodeError> {
    let files = FileDescriptorSet::decode(encoded)?.file.into_iter();
    Ok(files
        .flat_map(|file| {
            let package = file.package.unwrap_or_default();
            file.service.into_iter().map(move |service| (format!("{package}.{}", service.name()), service))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_include_those_of_health_and_reflection() {
        let health = tonic_health::pb::FILE_DESCRIPTOR_SET;
        assert_eq!(services(health).unwrap(), ["grpc.health.v1.Health"]);
        let method = |path: &str, client_streaming, server_streaming| Method {
            path: path.to_owned(),
            client_streaming,
            server_streaming,
        };
        assert_eq!(
            methods(b"").unwrap(),
            [
                method("/grpc.health.v1.Health/Check", false, false),
                method("/grpc.health.v1.Health/Watch", false, true),
                method("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", true, true),
                method("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", true, true),
            ]
        );
        assert!(services(b"\x0a").is_err());
    }
}
