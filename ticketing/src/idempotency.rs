//! The key that makes a repeated Create return the first one's customer.

use service::request_id;
use tonic::{Status, metadata::MetadataMap};
use tonic_types::FieldViolation;

use crate::validation::invalid_argument;

/// The metadata key of a caller's own key.
const HEADER: &str = "idempotency-key";

/// The maximum length of a key. A longer request id is ignored.
const MAX_LENGTH: usize = 128;

/// Returns the key under which a Create is stored: the caller's own, else one made of the request id, which a channel
/// keeps over the attempts of a call. One request may create several customers, so their names are part of that key.
///
/// # Errors
///
/// INVALID_ARGUMENT when the caller's own key is empty, too long, or not visible ASCII.
pub(crate) fn key(
    metadata: &MetadataMap,
    first_name: &str,
    last_name: &str,
) -> Result<Option<String>, Status> {
    if let Some(value) = metadata.get(HEADER) {
        let key = valid(value.as_bytes()).ok_or_else(|| {
            let problem = format!("must be 1 to {MAX_LENGTH} visible ASCII characters");
            invalid_argument(vec![FieldViolation::new(HEADER, problem)])
        })?;
        return Ok(Some(format!("key {key}")));
    }
    let request_id = metadata.get(request_id::HEADER.as_str()).and_then(|value| valid(value.as_bytes()));
    // No name contains a line break.
    Ok(request_id.map(|id| format!("request {id}\n{first_name}\n{last_name}")))
}

fn valid(value: &[u8]) -> Option<&str> {
    let valid = (1..=MAX_LENGTH).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
    valid.then(|| str::from_utf8(value).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn key_of(headers: &[(&'static str, &str)]) -> Result<Option<String>, Status> {
        let mut metadata = MetadataMap::new();
        for (name, value) in headers {
            metadata.insert(*name, value.parse().unwrap());
        }
        key(&metadata, "Ann", "Lee")
    }

    #[test]
    fn a_callers_key_takes_precedence_over_the_request_id() {
        let both = [("idempotency-key", "k1"), ("x-request-id", "r1")];
        assert_eq!(key_of(&both).unwrap().as_deref(), Some("key k1"));
        assert_eq!(key_of(&both[1..]).unwrap().as_deref(), Some("request r1\nAnn\nLee"));
        assert_eq!(key_of(&[]).unwrap(), None);
    }

    #[test]
    fn a_bad_key_is_an_invalid_argument_and_a_bad_request_id_is_ignored() {
        for bad in ["", "two words", &"x".repeat(129)] {
            let status = key_of(&[("idempotency-key", bad)]).unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{bad}");
            assert_eq!(status.message(), "idempotency-key must be 1 to 128 visible ASCII characters");
            assert_eq!(key_of(&[("x-request-id", bad)]).unwrap(), None);
        }
        assert!(key_of(&[("idempotency-key", &"x".repeat(128))]).is_ok());
    }
}
