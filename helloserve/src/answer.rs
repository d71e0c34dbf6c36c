//! The JSON that the gateway answers, written straight into one buffer.
//!
//! Programs compare these answers byte for byte, so the order of fields is fixed: the caller's name, who the
//! gateway is, then what the backend said.

use bytes::Bytes;
use proto::hello::Introduction;

use crate::sorted_json::{NotAnObject, write_sorted, write_string};

/// Room for an answer with usual names, so that the buffer seldom grows.
const USUAL_SIZE: usize = 256;

/// Writes answers on behalf of one gateway.
#[derive(Debug)]
pub(crate) struct Answers {
    /// What stands between the caller's name and the backend's answer; always the same, so written once.
    identity: Vec<u8>,
}

// === impl Answers ===

impl Answers {
    /// Answers signed with this version and hostname.
    pub(crate) fn new(version: &str, hostname: &str) -> Self {
        let mut identity = b",\"version\":".to_vec();
        write_string(&mut identity, version);
        identity.extend_from_slice(b",\"hostname\":");
        write_string(&mut identity, hostname);
        identity.extend_from_slice(b",\"response\":");
        Self { identity }
    }

    /// Around what the gRPC backend said: its fields in the order of the .proto file, empty ones left out, as
    /// proto3 leaves them out.
    pub(crate) fn around_introduction(&self, name: &str, introduction: &Introduction) -> Bytes {
        let mut answer = self.opened(name);
        let Introduction { name, version, hostname } = introduction;
        let fields = [("name", name), ("version", version), ("hostname", hostname)];
        let mut before = b'{';
        for (field, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
            answer.push(before);
            write_string(&mut answer, field);
            answer.push(b':');
            write_string(&mut answer, value);
            before = b',';
        }
        answer.extend_from_slice(if before == b'{' { b"{}}" } else { b"}}" });
        answer.into()
    }

    /// Around what the HTTP backend said: its own JSON object, whatever fields it has, keys sorted.
    ///
    /// # Errors
    ///
    /// When it said anything else.
    pub(crate) fn around_object(&self, name: &str, object: &[u8]) -> Result<Bytes, NotAnObject> {
        let mut answer = self.opened(name);
        write_sorted(object, &mut answer)?;
        answer.push(b'}');
        Ok(answer.into())
    }

    fn opened(&self, name: &str) -> Vec<u8> {
        let mut answer = Vec::with_capacity(USUAL_SIZE);
        answer.extend_from_slice(b"{\"name\":");
        write_string(&mut answer, name);
        answer.extend_from_slice(&self.identity);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grpc(name: &str, fields: [&str; 3]) -> String {
        let [own, version, hostname] = fields.map(str::to_owned);
        let introduction = Introduction { name: own, version, hostname };
        let answer = Answers::new("v1-helloserve", "gw").around_introduction(name, &introduction);
        String::from_utf8(answer.to_vec()).unwrap()
    }

    fn http(name: &str, object: &str) -> String {
        let answer = Answers::new("v1-helloserve", "gw").around_object(name, object.as_bytes()).unwrap();
        String::from_utf8(answer.to_vec()).unwrap()
    }

    #[test]
    fn grpc_answers_are_in_proto_order_without_empty_fields() {
        assert_eq!(
            grpc("", ["", "v1-hellogrpc", "pod-1"]),
            r#"{"name":"","version":"v1-helloserve","hostname":"gw","response":{"version":"v1-hellogrpc","hostname":"pod-1"}}"#
        );
        assert_eq!(
            grpc("Ann", ["Ann", "v1-hellogrpc", "pod-1"]),
            r#"{"name":"Ann","version":"v1-helloserve","hostname":"gw","response":{"name":"Ann","version":"v1-hellogrpc","hostname":"pod-1"}}"#
        );
        assert_eq!(
            grpc("Ann", ["", "", ""]),
            r#"{"name":"Ann","version":"v1-helloserve","hostname":"gw","response":{}}"#
        );
    }

    #[test]
    fn http_answers_are_sorted() {
        assert_eq!(
            http("", r#"{"name":"","version":"v1-hellohttp","hostname":"pod-2"}"#),
            r#"{"name":"","version":"v1-helloserve","hostname":"gw","response":{"hostname":"pod-2","name":"","version":"v1-hellohttp"}}"#
        );
    }

    #[test]
    fn every_character_survives() {
        let name = "\"\\\0\n\u{7f}\u{2028}Ł👋</script>";
        let answer: serde_json::Value = serde_json::from_str(&grpc(name, [name, "", ""])).unwrap();
        assert_eq!((&answer["name"], &answer["response"]["name"]), (&name.into(), &name.into()));
    }
}
