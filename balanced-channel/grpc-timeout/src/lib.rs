//! Reads and writes `grpc-timeout`, the header that carries a call's timeout ([gRPC over HTTP/2]): up to eight digits
//! and a unit, one of `H`, `M`, `S`, `m`, `u` and `n` (hours to nanoseconds).
//!
//! ```
//! use std::time::Duration;
//!
//! assert_eq!(grpc_timeout::parse(b"250m"), Some(Duration::from_millis(250)));
//! assert_eq!(grpc_timeout::parse(b"1.5S"), None);
//! assert_eq!(grpc_timeout::format(Duration::from_millis(250)), "250000u");
//! ```
//!
//! [gRPC over HTTP/2]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests

use std::time::Duration;

use http::{HeaderName, HeaderValue};

/// The name of the header.
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The maximum number of digits in a value.
const MAX_DIGITS: u32 = 8;

/// Parses a value of the header. Returns `None` if it is malformed.
#[must_use]
pub fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=MAX_DIGITS as usize).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0, |count, digit| count * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

/// Formats a timeout in microseconds, or in the finest coarser unit that fits. Rounds down; the maximum is 99999999 s.
#[must_use]
pub fn format(timeout: Duration) -> HeaderValue {
    const MAX: u128 = 10_u128.pow(MAX_DIGITS) - 1;
    let (count, unit) = if timeout.as_micros() <= MAX {
        (timeout.as_micros(), 'u')
    } else if timeout.as_millis() <= MAX {
        (timeout.as_millis(), 'm')
    } else {
        (u128::from(timeout.as_secs()).min(MAX), 'S')
    };
    HeaderValue::try_from(format!("{count}{unit}")).expect("digits and a letter are a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_parsed() {
        for (text, expected) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("4m", Duration::from_millis(4)),
            ("5u", Duration::from_micros(5)),
            ("99999999n", Duration::from_nanos(99_999_999)),
            ("00000250u", Duration::from_micros(250)),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn malformed_value_is_none() {
        for text in
            ["", "S", "1", "1s", "-1S", "+1S", "1.5S", " 1S", "1 S", "123456789S", "1SS", "1S,1S", "1é"]
        {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn formatted_timeout_parses_to_the_same() {
        for timeout in [
            Duration::ZERO,
            Duration::from_millis(1500),
            Duration::from_secs(7_000),
            Duration::from_secs(200_000),
        ] {
            assert_eq!(parse(format(timeout).as_bytes()), Some(timeout));
        }
        assert_eq!(format(Duration::MAX), "99999999S");
    }
}
