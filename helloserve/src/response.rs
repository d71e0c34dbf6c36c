//! The gateway's JSON response: its own version and hostname around the backend's response.

use proto::hello::Introduction;
use serde::Serialize;

/// The response to a greeting. Fields are serialized in this order.
#[derive(Debug, Serialize)]
pub(crate) struct GatewayResponse<'a, R> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    pub(crate) hostname: &'a str,
    pub(crate) response: R,
}

/// The gRPC backend's response as JSON. Empty fields are left out, as in proto3's JSON mapping.
#[derive(Debug, Serialize)]
pub(crate) struct GrpcResponse {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    hostname: String,
}

// === impl GrpcResponse ===

impl From<Introduction> for GrpcResponse {
    fn from(Introduction { name, version, hostname }: Introduction) -> Self {
        Self { name, version, hostname }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(name: &str, [own, version, hostname]: [&str; 3]) -> String {
        let introduction =
            Introduction { name: own.to_owned(), version: version.to_owned(), hostname: hostname.to_owned() };
        let response = GrpcResponse::from(introduction);
        serde_json::to_string(&GatewayResponse { name, version: "v1-helloserve", hostname: "gw", response })
            .unwrap()
    }

    #[test]
    fn grpc_response_is_in_proto_order_without_empty_fields() {
        assert_eq!(
            json("", ["", "v1-hellogrpc", "pod-1"]),
            r#"{"name":"","version":"v1-helloserve","hostname":"gw","response":{"version":"v1-hellogrpc","hostname":"pod-1"}}"#
        );
        assert_eq!(
            json("Ann", ["Ann", "v1-hellogrpc", "pod-1"]),
            r#"{"name":"Ann","version":"v1-helloserve","hostname":"gw","response":{"name":"Ann","version":"v1-hellogrpc","hostname":"pod-1"}}"#
        );
        assert_eq!(
            json("Ann", ["", "", ""]),
            r#"{"name":"Ann","version":"v1-helloserve","hostname":"gw","response":{}}"#
        );
    }

    #[test]
    fn name_is_escaped_and_unescaped_unchanged() {
        let name = "\"\\\0\n\u{7f}\u{2028}Ł👋</script>";
        let parsed: serde_json::Value = serde_json::from_str(&json(name, [name, "", ""])).unwrap();
        assert_eq!((&parsed["name"], &parsed["response"]["name"]), (&name.into(), &name.into()));
    }
}
