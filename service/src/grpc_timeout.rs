//! The time that a caller waits, as gRPC says it: the header `grpc-timeout` of the gRPC over HTTP/2 document.

use std::time::Duration;

/// The header.
pub const HEADER: &str = "grpc-timeout";

/// Reads a value of the header: up to eight digits and a unit, one of `H`, `M`, `S`, `m`, `u`, `n` (hours to
/// nanoseconds). `None` when it is anything else.
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(service::grpc_timeout::parse(b"250m"), Some(Duration::from_millis(250)));
/// assert_eq!(service::grpc_timeout::parse(b"1.5S"), None);
/// ```
#[must_use]
pub fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
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
