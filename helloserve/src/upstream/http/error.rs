//! Converts reqwest's errors to upstream errors.

use std::{error::Error as StdError, io};

use balanced_channel::ResolveError;

use crate::upstream::{FailureKind, UpstreamError, excerpt};

pub(super) fn request_failed(error: &reqwest::Error) -> UpstreamError {
    let kind = match error {
        _ if causes(error).any(|cause| cause.is::<ResolveError>()) => FailureKind::NameResolution,
        _ if error.is_timeout() => FailureKind::Timeout,
        _ if error.is_connect() => FailureKind::Unavailable,
        _ => FailureKind::InvalidResponse,
    };
    failure(kind, root_cause(error))
}

pub(super) fn failure(kind: FailureKind, detail: impl std::fmt::Display) -> UpstreamError {
    UpstreamError { backend: "HTTP", kind, detail: excerpt(detail) }
}

/// Returns whether the connection closed before any part of a response arrived.
pub(super) fn closed_before_response(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| {
        let in_hyper = cause
            .downcast_ref::<hyper::Error>()
            .is_some_and(|error| error.is_incomplete_message() || error.is_canceled() || error.is_closed());
        let in_socket = cause.downcast_ref::<io::Error>().is_some_and(|error| {
            matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
        });
        in_hyper || in_socket
    })
}

/// Returns the error and its chain of sources.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| (*error).source())
}

pub(super) fn root_cause<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    causes(error).last().unwrap_or(error)
}
