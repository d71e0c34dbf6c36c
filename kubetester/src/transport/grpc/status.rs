//! A gRPC status in words.

use tonic::{Code, Status};

use crate::transport::cause;

/// The peer's own, or what is known of how the connection broke.
pub(super) fn refusal(status: &Status) -> String {
    let name = code_name(status.code());
    let source = std::error::Error::source(status);
    if let Some(io) = source.and_then(|source| cause::io_source(source)) {
        return format!("gRPC {name}: {}", cause::of_io(io, "the server"));
    }
    // Without a source it is the server's own word, and means what it says.
    match (source, status.message()) {
        (Some(_), "operation was canceled") => {
            format!("gRPC {name}: the connection ended before the call was sent; is it a gRPC port?")
        }
        (Some(_), message) if message.starts_with("h2 protocol error") => {
            format!("gRPC {name}: the server does not speak HTTP/2 as it should; is it a gRPC port?")
        }
        (_, "") => format!("gRPC {name}"),
        (_, message) => format!("gRPC {name}: {message}"),
    }
}

/// A status code by the name that the gRPC documents give it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
