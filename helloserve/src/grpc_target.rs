//! Targets of gRPC backends, as flags and routes name them.

use balanced_channel::Target;

/// Reads a target of the kinds that the gateway can call.
pub(crate) fn grpc_target(text: &str) -> Result<Target, String> {
    if text.starts_with("https://") {
        return Err("TLS to the gRPC backend is not built in; use dns:///host:port, \
                    or put a proxy that speaks TLS beside the gateway"
            .to_owned());
    }
    text.parse::<Target>().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_targets_are_the_channels_but_for_tls() {
        assert_eq!(grpc_target("dns:///svc:8000").unwrap().as_str(), "dns:///svc:8000");
        for (target, word) in [("https://svc", "TLS"), ("xds:///svc", "unknown scheme"), ("", "empty")] {
            let error = grpc_target(target).unwrap_err();
            assert!(error.contains(word), "{target}: {error}");
        }
    }
}
