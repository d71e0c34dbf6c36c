//! Parses the targets of gRPC backends in flags and routes.

use balanced_channel::Target;

/// Parses a target that the gateway can call.
pub(crate) fn grpc_target(text: &str) -> Result<Target, String> {
    if text.starts_with("https://") {
        return Err("TLS to the gRPC backend is not supported; use dns:///host:port, \
                    or a proxy beside the gateway that adds TLS"
            .to_owned());
    }
    text.parse::<Target>().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_of_the_channel_without_tls_is_accepted() {
        assert_eq!(grpc_target("dns:///svc:8000").unwrap().as_str(), "dns:///svc:8000");
        for (target, word) in [("https://svc", "TLS"), ("xds:///svc", "unknown scheme"), ("", "empty")] {
            let error = grpc_target(target).unwrap_err();
            assert!(error.contains(word), "{target}: {error}");
        }
    }

    #[test]
    fn kubernetes_target_without_a_service_or_port_is_an_error() {
        for target in ["kubernetes:///svc:8000", "kubernetes:///svc.ns:8000", "kubernetes:///svc.ns:grpc"] {
            assert_eq!(grpc_target(target).unwrap().as_str(), target);
        }
        for (target, sentence) in [
            ("kubernetes:///", "names no port: write kubernetes:///service.namespace:port"),
            ("kubernetes:///svc", "names no port: write kubernetes:///service.namespace:port"),
            ("kubernetes:///:8000", "names no service: write kubernetes:///service.namespace:port"),
            ("kubernetes:svc:8000", "names no service: write kubernetes:///service.namespace:port"),
            ("kubernetes:///svc:", "has the port \"\", which is not a number from 1 to 65535"),
            ("kubernetes:///svc:0", "has the port \"0\", which is not a number from 1 to 65535"),
            (
                "kubernetes:///svc:GRPC",
                "has the port \"GRPC\", which is neither a number nor the name of a port",
            ),
            ("kubernetes:///Svc:80", "has \"Svc\", which is not the name of a service or a namespace"),
            ("kubernetes:///svc_a:80", "has \"svc_a\", which is not the name of a service or a namespace"),
            ("kubernetes:///svc.:80", "has \"\", which is not the name of a service or a namespace"),
        ] {
            assert_eq!(grpc_target(target), Err(format!("target \"{target}\" {sentence}")));
        }
    }
}
