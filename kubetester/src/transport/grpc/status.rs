//! A gRPC status in words.

use balanced_channel::status_name;
use tonic::Status;

use crate::transport::cause;

/// How tonic says that an answer is HTTP alone; the number of its status follows.
const HTTP_ALONE: &str = "grpc-status header missing, mapped from HTTP status code ";

/// How it says that a body does not begin as a gRPC message does.
const NO_MESSAGE: &str = "protocol error: received message with invalid compression flag";

/// How h2 says that a connection ended within a frame, or within what is no frame.
const HALF_A_FRAME: &str = "bytes remaining on stream";

/// The peer's own words, or what is known of how the connection broke.
pub(super) fn refusal(status: &Status) -> String {
    let name = status_name(status.code());
    let source = std::error::Error::source(status);
    let io = source.and_then(|source| cause::io_source(source));
    if let Some(io) = io.filter(|io| io.to_string() != HALF_A_FRAME) {
        return format!("gRPC {name}: {}", cause::of_io(io, "the server"));
    }
    let message = status.message();
    // Without a source it is the server's own word, and means what it says.
    let words = match source {
        Some(_) if io.is_some() || message.starts_with("h2 protocol error") => {
            "the server does not speak HTTP/2 as it should; is it a gRPC port?"
        }
        Some(_) if message == "operation was canceled" => {
            "the connection ended before the call was sent; is it a gRPC port?"
        }
        _ if message.starts_with(NO_MESSAGE) => "the server answers HTTP/2, but no gRPC; is it a gRPC port?",
        _ => message,
    };
    match (words, words.strip_prefix(HTTP_ALONE)) {
        ("", _) => format!("gRPC {name}"),
        (_, Some(code)) => format!("gRPC {name}: the server answers HTTP {code} without a gRPC status"),
        _ => format!("gRPC {name}: {words}"),
    }
}
