//! What there is to call, read from the descriptors of the services.

use prost::{DecodeError, Message as _};
use prost_types::FileDescriptorSet;

/// The descriptors of all services.
const DESCRIPTORS: [&[u8]; 4] = [
    proto::DESCRIPTORS,
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
];

/// The path of each method, as `/hello.Hello/SayHello`.
///
/// # Errors
///
/// When descriptors cannot be read.
pub(crate) fn paths() -> Result<Vec<String>, DecodeError> {
    let mut paths = Vec::new();
    for encoded in DESCRIPTORS {
        for file in FileDescriptorSet::decode(encoded)?.file {
            for service in &file.service {
                let method = |name: &str| format!("/{}.{}/{name}", file.package(), service.name());
                paths.extend(service.method.iter().map(|it| method(it.name())));
            }
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_those_of_the_four_services() {
        let mut paths = paths().unwrap();
        paths.sort_unstable();
        assert_eq!(
            paths,
            [
                "/grpc.health.v1.Health/Check",
                "/grpc.health.v1.Health/Watch",
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                "/hello.Hello/SayHello",
            ]
        );
    }
}
