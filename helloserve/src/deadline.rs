//! The time limit of a backend: the gateway's own limit, or the caller's `grpc-timeout` if that is shorter.

use std::time::Duration;

use grpc_timeout::GRPC_TIMEOUT;
use http::HeaderMap;

/// The `grpc-timeout` header is malformed or repeated.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "header {GRPC_TIMEOUT} is invalid; send it once, as at most 8 digits and a unit of H, M, S, m, u or n, \
     such as 250m for 250 milliseconds"
)]
pub(crate) struct InvalidTimeout;

/// Returns the shorter of `limit` and the request's `grpc-timeout`.
///
/// # Errors
///
/// If the header is malformed or repeated, because ignoring it would drop the caller's deadline silently.
pub(crate) fn effective_timeout(headers: &HeaderMap, limit: Duration) -> Result<Duration, InvalidTimeout> {
    let mut values = headers.get_all(GRPC_TIMEOUT).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(limit),
        (Some(value), None) => Ok(grpc_timeout::parse(value.as_bytes()).ok_or(InvalidTimeout)?.min(limit)),
        (Some(_), Some(_)) => Err(InvalidTimeout),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    fn effective(values: &[&'static str]) -> Result<Duration, InvalidTimeout> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(GRPC_TIMEOUT, HeaderValue::from_static(value));
        }
        effective_timeout(&headers, LIMIT)
    }

    #[test]
    fn shorter_of_header_and_limit_is_effective() {
        assert_eq!(effective(&[]), Ok(LIMIT));
        assert_eq!(effective(&["99999999H"]), Ok(LIMIT));
        assert_eq!(effective(&["2S"]), Ok(LIMIT));
        assert_eq!(effective(&["1M"]), Ok(LIMIT));
        assert_eq!(effective(&["250m"]), Ok(Duration::from_millis(250)));
        assert_eq!(effective(&["00000250u"]), Ok(Duration::from_micros(250)));
        assert_eq!(effective(&["7n"]), Ok(Duration::from_nanos(7)));
        assert_eq!(effective(&["0S"]), Ok(Duration::ZERO));
    }

    #[test]
    fn malformed_or_repeated_header_is_an_error() {
        for value in ["", "S", "1", "1s", "-1S", "+1S", "1.5S", " 1S", "1 S", "100000000n", "1SS", "1S,1S"] {
            assert_eq!(effective(&[value]), Err(InvalidTimeout), "{value:?}");
        }
        assert_eq!(effective(&["1S", "1S"]), Err(InvalidTimeout));
    }
}
