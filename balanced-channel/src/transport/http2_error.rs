//! Describes errors of HTTP/2 by the names that the specification gives to their codes.

use std::borrow::Cow;

use super::chain;

/// The names of HTTP/2's error codes (RFC 9113, section 7), in the order of their numbers.
pub(crate) const CODE_NAMES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

/// Returns the name of an HTTP/2 error code (RFC 9113, section 7), such as `CANCEL`; `code 48879` for a code without a name.
pub(crate) fn error_code(code: u32) -> Cow<'static, str> {
    let name = usize::try_from(code).ok().and_then(|index| CODE_NAMES.get(index));
    name.map_or_else(|| format!("code {code}").into(), |name| Cow::Borrowed(*name))
}

/// Describes the frame with which either side ended a stream or the connection, with its code; other errors with their causes.
pub fn describe_http2_error(error: &h2::Error) -> String {
    let Some(reason) = error.reason() else { return chain(error) };
    let sender = if error.is_remote() { "the server" } else { "the client" };
    let code = error_code(reason.into());
    if error.is_go_away() {
        format!("{sender} closed the HTTP/2 connection with GOAWAY {code}")
    } else if error.is_reset() {
        format!("{sender} ended the HTTP/2 stream with RST_STREAM {code}")
    } else {
        chain(error)
    }
}
