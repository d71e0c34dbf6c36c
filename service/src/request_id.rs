//! Request IDs: the header `x-request-id`, by which a request is found in the logs of all programs that handled it.
//!
//! [`crate::http::finish`] puts a [`RequestId`] into the extensions of every request.

use axum::extract::Request;
use http::{HeaderName, HeaderValue};
use tower_http::request_id::MakeRequestId;
pub use tower_http::request_id::RequestId;

/// The header that carries the ID.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The longest ID that is accepted, in bytes: IDs are copied into log lines and into requests to backends.
const MAX_LENGTH: usize = 128;

/// Generates IDs of 128 random bits in hexadecimal, like the trace IDs of W3C Trace Context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RandomId;

// === impl RandomId ===

impl MakeRequestId for RandomId {
    fn make_request_id<B>(&mut self, _request: &http::Request<B>) -> Option<RequestId> {
        HeaderValue::try_from(format!("{:032x}", fastrand::u128(..))).ok().map(RequestId::new)
    }
}

/// Removes an ID that is empty, longer than 128 bytes, or not visible ASCII.
pub(crate) fn remove_unusable(mut request: Request) -> Request {
    let usable = |value: &HeaderValue| {
        (1..=MAX_LENGTH).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    if request.headers().get(&HEADER).is_some_and(|value| !usable(value)) {
        request.headers_mut().remove(&HEADER);
    }
    request
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn kept(id: &[u8]) -> bool {
        let mut request = Request::new(Body::empty());
        request.headers_mut().insert(HEADER, HeaderValue::from_bytes(id).unwrap());
        remove_unusable(request).headers().contains_key(HEADER)
    }

    #[test]
    fn unusable_id_is_removed() {
        assert!(kept(b"a-1_B.2:3/4") && kept(&[b'x'; MAX_LENGTH]));
        for id in [&b""[..], &[b'x'; MAX_LENGTH + 1], b"two words", b"tab\there", "na\u{ef}ve".as_bytes()] {
            assert!(!kept(id), "{id:?}");
        }
    }

    #[test]
    fn generated_ids_differ() {
        let request = http::Request::new(());
        let make = || RandomId.make_request_id(&request).unwrap().into_header_value();
        let (first, second) = (make(), make());
        assert_ne!(first, second);
        assert!(first.len() == 32 && first.as_bytes().iter().all(u8::is_ascii_hexdigit));
    }
}
