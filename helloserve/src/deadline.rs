//! How long a request may take: the gateway's own limit, or the caller's when that is shorter.
//!
//! A caller says it in `grpc-timeout`, in the syntax of the gRPC over HTTP/2 document.

use std::time::Duration;

use http::HeaderMap;
use service::grpc_timeout::{self, HEADER as GRPC_TIMEOUT};

/// A `grpc-timeout` header that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {GRPC_TIMEOUT} header cannot be read; give it once, as at most 8 digits and a unit of H, M, S, m, u or n, \
     like 250m for 250 milliseconds"
)]
pub(crate) struct DeadlineError;

/// The shorter of `limit` and what the request's `grpc-timeout` header allows.
///
/// # Errors
///
/// When the header is malformed or there is more than one: a deadline that nobody can read must not be dropped.
pub(crate) fn time_allowed(headers: &HeaderMap, limit: Duration) -> Result<Duration, DeadlineError> {
    let mut given = headers.get_all(GRPC_TIMEOUT).iter();
    match (given.next(), given.next()) {
        (None, _) => Ok(limit),
        (Some(one), None) => Ok(grpc_timeout::parse(one.as_bytes()).ok_or(DeadlineError)?.min(limit)),
        (Some(_), Some(_)) => Err(DeadlineError),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    fn allowed(values: &[&'static str]) -> Result<Duration, DeadlineError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(GRPC_TIMEOUT, HeaderValue::from_static(value));
        }
        time_allowed(&headers, LIMIT)
    }

    #[test]
    fn the_shorter_wins() {
        assert_eq!(allowed(&[]), Ok(LIMIT));
        assert_eq!(allowed(&["99999999H"]), Ok(LIMIT));
        assert_eq!(allowed(&["2S"]), Ok(LIMIT));
        assert_eq!(allowed(&["1M"]), Ok(LIMIT));
        assert_eq!(allowed(&["250m"]), Ok(Duration::from_millis(250)));
        assert_eq!(allowed(&["00000250u"]), Ok(Duration::from_micros(250)));
        assert_eq!(allowed(&["7n"]), Ok(Duration::from_nanos(7)));
        assert_eq!(allowed(&["0S"]), Ok(Duration::ZERO));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for value in ["", "S", "1", "1s", "-1S", "+1S", "1.5S", " 1S", "1 S", "100000000n", "1SS", "1S,1S"] {
            assert_eq!(allowed(&[value]), Err(DeadlineError), "{value:?}");
        }
        assert_eq!(allowed(&["1S", "1S"]), Err(DeadlineError));
    }
}
