//! The upstreams, which are the gRPC backends and the HTTP backend, and the mapping of their failures to responses.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ::http::StatusCode;
use tokio::time::Instant;

pub(crate) mod grpc;
pub(crate) mod http;
mod opened;
mod peers;
pub(crate) mod resolver;

/// The longest response that the gateway accepts from a backend, in bytes.
pub(crate) const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// The longest excerpt of a backend's own text, in characters.
const MAX_EXCERPT: usize = 250;

/// The shortest time between two warnings about one upstream.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The kinds of failure that a response reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FailureKind {
    /// The backend's name has no address, or DNS did not respond.
    NameResolution,
    /// No connection could be established, or the backend reports UNAVAILABLE.
    Unavailable,
    /// The backend exceeded the deadline.
    Timeout,
    /// The backend rejected the request itself.
    InvalidArgument,
    /// The backend is out of a resource.
    ResourceExhausted,
    /// The backend responded with an error status.
    ErrorStatus,
    /// The connection broke, or the response is not what the protocol or the gateway expects.
    InvalidResponse,
}

/// A failed call to a backend.
///
/// Its display is one sentence for callers. Addresses, messages of backends and errors of libraries are only in `detail`,
/// which is logged.
#[derive(Debug, thiserror::Error)]
#[error("{backend} backend {}", .kind.sentence())]
pub(crate) struct UpstreamError {
    /// `gRPC` or `HTTP`.
    pub(crate) backend: &'static str,
    pub(crate) kind: FailureKind,
    pub(crate) detail: String,
}

/// Logs the failures of one upstream: at most one per minute as a warning, the others at the level debug.
#[derive(Debug, Default)]
pub(crate) struct FailureLog {
    last_warning: Mutex<Option<Instant>>,
}

// === impl FailureLog ===

impl FailureLog {
    pub(crate) fn record(&self, target: &str, error: &UpstreamError) {
        let (backend, failure, detail) = (error.backend, error.kind.name(), &error.detail);
        let mut last = self.last_warning.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= LOG_INTERVAL) {
            *last = Some(Instant::now());
            tracing::warn!(
                backend,
                target,
                failure,
                detail,
                "upstream call failed; further failures are logged at debug"
            );
        } else {
            tracing::debug!(backend, target, failure, detail, "upstream call failed");
        }
    }
}

// === impl FailureKind ===

impl FailureKind {
    pub(crate) const ALL: [Self; 7] = [
        Self::NameResolution,
        Self::Unavailable,
        Self::Timeout,
        Self::InvalidArgument,
        Self::ResourceExhausted,
        Self::ErrorStatus,
        Self::InvalidResponse,
    ];

    /// Returns the value of the problem's member `failure` and of the metrics' label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NameResolution => "name_resolution",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::InvalidArgument => "invalid_argument",
            Self::ResourceExhausted => "resource_exhausted",
            Self::ErrorStatus => "error_status",
            Self::InvalidResponse => "invalid_response",
        }
    }

    /// Returns the status of the gateway's own response.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::NameResolution | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::InvalidArgument => StatusCode::BAD_REQUEST,
            Self::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Self::ErrorStatus | Self::InvalidResponse => StatusCode::BAD_GATEWAY,
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::NameResolution => "is unavailable: its name could not be resolved",
            Self::Unavailable => "is unavailable",
            Self::Timeout => "did not respond in time",
            Self::InvalidArgument => "rejected the request as invalid",
            Self::ResourceExhausted => "has no capacity for the request",
            Self::ErrorStatus => "responded with an error",
            Self::InvalidResponse => "sent a response that the gateway cannot use",
        }
    }
}

/// Returns the text on one line without control characters, shortened to [`MAX_EXCERPT`].
pub(crate) fn excerpt(text: impl fmt::Display) -> String {
    let text = text.to_string();
    let mut characters = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = characters.by_ref().take(MAX_EXCERPT).collect();
    if characters.next().is_some() {
        short.push('…');
    }
    short
}
