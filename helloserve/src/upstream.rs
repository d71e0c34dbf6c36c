//! The two ways to a backend, and how each of their failures is told to a caller.

use std::{error::Error, fmt};

use ::http::StatusCode;

pub(crate) mod dns;
pub(crate) mod grpc;
pub(crate) mod http;

/// A backend's answer that is longer is a failure, in bytes.
pub(crate) const MAX_ANSWER: usize = 64 * 1024;

/// The longest that is told of a failure, in characters: a backend's own words may be without end.
const MAX_WORDS: usize = 250;

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
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) protocol: &'static str,
    pub(crate) target: String,
}

// === impl Backend ===

impl Backend {
    /// The backend, followed by `predicate`, is the sentence: it `is unavailable`, it `answered`.
    pub(crate) fn failure(&self, status: StatusCode, predicate: impl fmt::Display) -> Failure {
        Failure { status, sentence: format!("{self} {}", shortened(&predicate.to_string())) }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} backend {}", self.protocol, self.target)
    }
}

/// The words, on one line, and no more of them than a person reads.
pub(crate) fn shortened(words: &str) -> String {
    let mut characters = words.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = characters.by_ref().take(MAX_WORDS).collect();
    if characters.next().is_some() {
        short.push('…');
    }
    short
}

/// The innermost cause, which is what went wrong; the errors around it say where, which is known here.
fn root_cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause
}
