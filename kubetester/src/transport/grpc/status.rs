//! Describes gRPC statuses in sentences.

use std::error::Error;

use balanced_channel::{describe_http2_error, status_name};
use h2::Reason;
use http::uri::PathAndQuery;
use tonic::{Code, Status};

use crate::transport::cause;

/// The text of h2's error for a connection that ended within a frame, or that does not speak HTTP/2.
const TRUNCATED_FRAME: &str = "bytes remaining on stream";

/// tonic's text for a response without a status.
const NO_STATUS: &str = "grpc-status header missing, mapped from HTTP status code ";

/// The name of the balanced channel for the limit on headers and trailers.
const CHANNEL_LIMIT: &str = "the limit of this channel (Builder::max_header_list_size)";

/// Returns a status that names the flag if `status` is tonic's own for a message above `limit` bytes.
pub(super) fn message_too_large(status: &Status, limit: u32) -> Option<Status> {
    let message = status.message();
    let size = message.strip_prefix("Error, decoded message length too large: found ");
    let size = match size.and_then(|rest| rest.split(' ').next()) {
        Some(size) => format!("{size} bytes, more than the {limit}"),
        None if message.starts_with("Error decompressing: size limit") => {
            format!("more bytes, when decompressed, than the {limit}")
        }
        None => return None,
    };
    let sentence = format!("a message of the response has {size} of --max-message-size");
    Some(Status::with_metadata(Code::ResourceExhausted, sentence, status.metadata().clone()))
}

/// Returns the name of the status with the server's message, or with the cause if the connection failed.
pub(super) fn describe_status(status: &Status, method: &PathAndQuery) -> String {
    let name = status_name(status.code());
    match explanation(status, method) {
        words if words.is_empty() => format!("gRPC {name}"),
        words => format!("gRPC {name}: {words}"),
    }
}

/// Returns the name of the status of a reflection call, with its message.
pub(super) fn describe_reflection_status(status: &Status) -> String {
    let name = status_name(status.code());
    match cause(status) {
        words if words.is_empty() => format!("gRPC {name}"),
        words => format!("gRPC {name}: {words}"),
    }
}

/// Returns the server's message, or the cause if the connection failed. Names the method if the server does not have it.
pub(super) fn explanation(status: &Status, method: &PathAndQuery) -> String {
    let words = cause(status);
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

fn cause(status: &Status) -> String {
    let message = status.message();
    // A status without a source was sent by the server.
    let Some(source) = status.source() else {
        return match message.strip_prefix(NO_STATUS) {
            Some(code) => format!("the server answers HTTP {code} without a gRPC status"),
            None => message.replace(CHANNEL_LIMIT, "the limit of --max-header-list-size"),
        };
    };
    let io = cause::io_source(source);
    if let Some(io) = io.filter(|io| io.to_string() != TRUNCATED_FRAME) {
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

/// Describes the error that ended a stream or a connection, with its likely cause.
fn http2(error: &h2::Error) -> String {
    if !error.is_go_away() && !error.is_reset() {
        return format!("HTTP/2 failed: {error}");
    }
    // h2's own limit is a multiple of the flag's.
    let by_size = |hint: &str| format!("{hint}, or headers or trailers far above --max-header-list-size");
    let hint = match error.reason() {
        _ if error.is_remote() => String::new(),
        Some(Reason::PROTOCOL_ERROR) if error.is_reset() => by_size(": malformed headers"),
        _ if error.is_reset() => String::new(),
        Some(Reason::ENHANCE_YOUR_CALM | Reason::COMPRESSION_ERROR) => {
            by_size(": too many frames of the server")
        }
        _ => ": the server breaks the protocol; is it a gRPC port?".to_owned(),
    };
    describe_http2_error(error) + &hint
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
