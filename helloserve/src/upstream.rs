//! The two ways to a backend, and how each of their failures is told to a caller.

use std::{error::Error, fmt, time::Duration};

use ::http::StatusCode;

pub(crate) mod dns;
pub(crate) mod grpc;
pub(crate) mod http;

/// A backend's answer that is longer is a failure, in bytes.
pub(crate) const MAX_ANSWER: usize = 64 * 1024;

/// How much of a backend's own words a failure repeats, in characters.
const MAX_QUOTE: usize = 200;

/// A call that brought no usable answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What the caller of the gateway gets: 503 when nothing is ready, 504 when it took too long, 502 when the
    /// backend failed, and what the backend says about the request itself.
    pub(crate) status: StatusCode,
    /// One sentence that names the backend.
    pub(crate) sentence: String,
}

/// Who is called: `gRPC backend dns:///grpc-svc:8000`.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    pub(crate) protocol: &'static str,
    pub(crate) target: String,
}

// === impl Backend ===

impl Backend {
    /// Nothing answers at the target; a little later it may.
    pub(crate) fn unavailable(&self, why: impl fmt::Display) -> Failure {
        self.said(StatusCode::SERVICE_UNAVAILABLE, format_args!("is unavailable: {why}"))
    }

    /// It had its time; `meanwhile` says, if anyone knows, what it was spent on.
    pub(crate) fn timed_out(&self, allowed: Duration, meanwhile: &str) -> Failure {
        let separator = if meanwhile.is_empty() { "" } else { ": " };
        let late = format_args!("did not answer within {allowed:?}{separator}{meanwhile}");
        self.said(StatusCode::GATEWAY_TIMEOUT, late)
    }

    /// It answered, but not what it should.
    pub(crate) fn failed(&self, how: impl fmt::Display) -> Failure {
        self.said(StatusCode::BAD_GATEWAY, how)
    }

    /// It answered with an error, in these words.
    pub(crate) fn said(&self, status: StatusCode, words: impl fmt::Display) -> Failure {
        Failure { status, sentence: format!("{self} {}", quote(&words.to_string())) }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} backend {}", self.protocol, self.target)
    }
}

/// The words, cut to a length that a person reads, on one line.
fn quote(words: &str) -> String {
    let mut quoted: String =
        words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_QUOTE).collect();
    if quoted.len() < words.len() {
        quoted.push('…');
    }
    quoted
}

/// The innermost cause, which is what went wrong; the errors around it say where, which is known here.
fn root_cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause
}
