//! Maps a failed attempt to its progress, and to the status for the caller.

use std::net::SocketAddr;

use h2::Reason;
use http::{Response, StatusCode, header::CONTENT_TYPE};
use tonic::{Code, Status, metadata::MetadataMap};

use super::retry::Progress;
use crate::transport::{ResponseError, SendError, chain};

/// An attempt that ended without response headers.
#[derive(Debug)]
pub(crate) struct SendFailure {
    pub(crate) why: String,
    pub(crate) progress: Progress,
    pub(crate) code: Code,
}

// === impl SendFailure ===

impl From<SendError> for SendFailure {
    fn from(error: SendError) -> Self {
        let (progress, code) = match &error {
            SendError::Closed | SendError::NotSent(_) => (Progress::NotSent, Code::Unavailable),
            SendError::InvalidRequest(_) => (Progress::MaybeProcessed, Code::Internal),
            SendError::Failed(ResponseError::Http2(error)) if refused(error) => {
                (Progress::Refused, code_of_http2(error))
            }
            SendError::Failed(error) => (Progress::MaybeProcessed, code(error)),
        };
        Self { why: chain(&error), progress, code }
    }
}

impl SendFailure {
    /// Returns the status for the caller. `previous` is the number of attempts before this one.
    pub(crate) fn status(&self, address: SocketAddr, previous: u32) -> Status {
        let mut sentence = format!("the call to {address} failed: {}", self.why);
        if previous > 0 {
            sentence += &format!("; it was attempt {}", previous + 1);
        }
        Status::new(self.code, sentence)
    }
}

/// Returns the code of a response without `grpc-status`, by the gRPC document "HTTP to gRPC Status Code Mapping";
/// `None` for HTTP 200, whose code is in the trailers.
fn code_of_http(status: StatusCode) -> Option<Code> {
    match status.as_u16() {
        200 => None,
        400 => Some(Code::Internal),
        401 => Some(Code::Unauthenticated),
        403 => Some(Code::PermissionDenied),
        404 => Some(Code::Unimplemented),
        429 | 502..=504 => Some(Code::Unavailable),
        _ => Some(Code::Unknown),
    }
}

/// Returns the status of a response that is not from a gRPC server, such as the error page of a proxy: a response
/// without `grpc-status` whose HTTP status is not 200 or whose content type is not gRPC's (gRPC over HTTP/2,
/// "Responses"). The body of such a response is not parsed as messages.
pub fn foreign_response_status<B>(response: &Response<B>) -> Option<Status> {
    let (http, headers) = (response.status(), response.headers());
    if headers.contains_key(Status::GRPC_STATUS) {
        return None;
    }
    let content_type = headers.get(CONTENT_TYPE);
    let code = match code_of_http(http) {
        Some(code) => code,
        None if content_type.is_none_or(|value| value.as_bytes().starts_with(b"application/grpc")) => {
            return None;
        }
        None => Code::Unknown,
    };
    let with = content_type.map(|value| format!(" with {}", String::from_utf8_lossy(value.as_bytes())));
    let with = with.unwrap_or_default();
    let mut status =
        Status::new(code, format!("the response is HTTP {http}{with}, not gRPC; is it a gRPC port?"));
    *status.metadata_mut() = MetadataMap::from_headers(headers.clone());
    Some(status)
}

/// Returns the status of a response that broke off.
pub(crate) fn broken(error: &ResponseError, address: SocketAddr) -> Status {
    Status::new(code(error), format!("the response from {address} broke off: {}", chain(error)))
}

fn code(error: &ResponseError) -> Code {
    match error {
        ResponseError::Http2(error) => code_of_http2(error),
        ResponseError::HeaderList(_) => Code::ResourceExhausted,
    }
}

/// Returns the gRPC code for an HTTP/2 error (gRPC over HTTP/2, "Errors").
fn code_of_http2(error: &h2::Error) -> Code {
    if error.is_io() || error.is_go_away() {
        return Code::Unavailable;
    }
    match error.reason() {
        Some(Reason::REFUSED_STREAM) => Code::Unavailable,
        Some(Reason::CANCEL) => Code::Cancelled,
        Some(Reason::ENHANCE_YOUR_CALM) => Code::ResourceExhausted,
        Some(Reason::INADEQUATE_SECURITY) => Code::PermissionDenied,
        _ => Code::Internal,
    }
}

/// Returns whether the server has declared that it did not process the call: it refused the stream, or the stream is
/// after the last one in its GOAWAY. h2 does not fail the streams up to that one.
fn refused(error: &h2::Error) -> bool {
    error.is_remote()
        && (error.is_go_away() || error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM))
}
