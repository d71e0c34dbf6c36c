//! What a failed attempt means: whether a server has seen the call, and the status for the caller.

use std::{error::Error, net::SocketAddr};

use h2::Reason;
use http::Request;
use hyper::client::conn::TrySendError;
use tonic::{Code, Status};

use crate::{call::RequestBody, transport::chain};

/// An attempt that ended without response headers.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) why: String,
    /// No server has processed the call: it never left, its stream was refused, or it came after
    /// the last one that the server's GOAWAY admits. It is safe to send it again (gRFC A6).
    pub(crate) unseen: bool,
    /// Something of it left this process.
    pub(crate) sent: bool,
    pub(crate) code: Code,
}

// === impl Failure ===

impl From<TrySendError<Request<RequestBody>>> for Failure {
    fn from(mut error: TrySendError<Request<RequestBody>>) -> Self {
        let sent = error.take_message().is_none();
        let error = error.into_error();
        let why = chain(&error);
        match h2_error(&error) {
            Some(h2) => {
                let refused = h2.is_reset() && h2.reason() == Some(Reason::REFUSED_STREAM);
                let gone = h2.is_go_away() && h2.is_remote();
                Self { why, unseen: !sent || refused || gone, sent, code: code(h2) }
            }
            None => Self { why, unseen: !sent, sent, code: Code::Unavailable },
        }
    }
}

impl Failure {
    pub(crate) fn status(&self, address: SocketAddr) -> Status {
        Status::new(self.code, format!("the call to {address} failed: {}", self.why))
    }
}

/// The status of a response that broke off.
pub(crate) fn broken(error: &hyper::Error, address: SocketAddr) -> Status {
    let code = h2_error(error).map_or(Code::Unavailable, code);
    Status::new(code, format!("the response from {address} broke off: {}", chain(error)))
}

/// The gRPC code for an HTTP/2 error (gRPC over HTTP/2, "Errors").
fn code(error: &h2::Error) -> Code {
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

fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(h2) = error.downcast_ref() {
            return Some(h2);
        }
        source = error.source();
    }
    None
}
