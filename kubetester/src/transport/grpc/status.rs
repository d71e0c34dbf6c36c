//! A gRPC status in words.

use std::error::Error;

use balanced_channel::status_name;
use h2::Reason;
use http::uri::PathAndQuery;
use tonic::{Code, Status};

use crate::transport::cause;

/// The text of h2's error for a connection that ended within a frame, or within what is no frame.
const HALF_A_FRAME: &str = "bytes remaining on stream";

/// h2's text for a stream on which a peer broke the protocol or a limit.
const PROTOCOL_ERROR: &str = "unspecific protocol error detected";

/// tonic's text for a response without a status.
const NO_STATUS: &str = "grpc-status header missing, mapped from HTTP status code ";

/// Returns the name of the status, with the server's own words or the way in which the connection broke.
pub(super) fn refusal(status: &Status, method: &PathAndQuery) -> String {
    let name = status_name(status.code());
    match explanation(status, method) {
        words if words.is_empty() => format!("gRPC {name}"),
        words => format!("gRPC {name}: {words}"),
    }
}

/// Returns the name of the status of a call to reflection, with its words.
pub(super) fn plain(status: &Status) -> String {
    let name = status_name(status.code());
    match words(status) {
        words if words.is_empty() => format!("gRPC {name}"),
        words => format!("gRPC {name}: {words}"),
    }
}

/// Returns the server's own words, or the way in which the connection broke. Names the method if the server does not
/// have it.
pub(super) fn explanation(status: &Status, method: &PathAndQuery) -> String {
    let words = words(status);
    if status.code() != Code::Unimplemented {
        return words;
    }
    let method = method.as_str().trim_start_matches('/');
    match words {
        words if words.contains(method) => words,
        words if words.is_empty() => format!("the server does not have {method}"),
        words => format!("the server does not have {method}: {words}"),
    }
}

fn words(status: &Status) -> String {
    let message = status.message();
    // Without a source it is the server's own word, and means what it says.
    let Some(source) = status.source() else {
        return match message.strip_prefix(NO_STATUS) {
            Some(code) => format!("the server answers HTTP {code} without a gRPC status"),
            // A balanced channel's text, without its cause.
            None if message.ends_with(PROTOCOL_ERROR) => format!(
                "{message}; if headers or trailers are larger than the 16 KiB that a balanced channel reads, \
                 call one server as grpc://host:port, which reads 256 KiB"
            ),
            None => message.to_owned(),
        };
    };
    let io = cause::io_source(source);
    if let Some(io) = io.filter(|io| io.to_string() != HALF_A_FRAME) {
        return cause::of_io(io, "the server");
    }
    if let Some(error) = h2_source(source) {
        return http2(error);
    }
    if io.is_some() {
        return "the connection ended within an HTTP/2 frame; is it a gRPC port?".to_owned();
    }
    if message == "operation was canceled" {
        return "the connection ended before the call was sent".to_owned();
    }
    message.to_owned()
}

/// Returns what HTTP/2 says about the end of a stream or a connection (RFC 9113, section 7).
fn http2(error: &h2::Error) -> String {
    let reason = error.reason().map_or_else(|| "no reason".to_owned(), reason);
    let sender = if error.is_remote() { "the server" } else { "the client" };
    if error.is_go_away() {
        let hint =
            if error.is_remote() { "" } else { ": the server breaks the protocol; is it a gRPC port?" };
        return format!("{sender} closed the HTTP/2 connection with GOAWAY {reason}{hint}");
    }
    if error.is_reset() {
        return format!("{sender} ended the HTTP/2 stream with RST_STREAM {reason}");
    }
    format!("HTTP/2 failed: {error}")
}

fn reason(reason: Reason) -> String {
    let name = match reason {
        Reason::NO_ERROR => "NO_ERROR",
        Reason::PROTOCOL_ERROR => "PROTOCOL_ERROR",
        Reason::INTERNAL_ERROR => "INTERNAL_ERROR",
        Reason::FLOW_CONTROL_ERROR => "FLOW_CONTROL_ERROR",
        Reason::SETTINGS_TIMEOUT => "SETTINGS_TIMEOUT",
        Reason::STREAM_CLOSED => "STREAM_CLOSED",
        Reason::FRAME_SIZE_ERROR => "FRAME_SIZE_ERROR",
        Reason::REFUSED_STREAM => "REFUSED_STREAM",
        Reason::CANCEL => "CANCEL",
        Reason::COMPRESSION_ERROR => "COMPRESSION_ERROR",
        Reason::CONNECT_ERROR => "CONNECT_ERROR",
        Reason::ENHANCE_YOUR_CALM => "ENHANCE_YOUR_CALM",
        Reason::INADEQUATE_SECURITY => "INADEQUATE_SECURITY",
        Reason::HTTP_1_1_REQUIRED => "HTTP_1_1_REQUIRED",
        other => return format!("code {}", u32::from(other)),
    };
    name.to_owned()
}

fn h2_source<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a h2::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return Some(error);
        }
        next = error.source();
    }
    None
}
