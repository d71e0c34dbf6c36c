//! The response to one call, as printed by `kubetester call`.

use std::net::SocketAddr;

use http::HeaderMap;

use crate::{pod_name::Pod, sanitize};

/// The maximum number of characters of a body that are printed.
const MAX_EXCERPT_CHARS: usize = 200;

/// The response of a server to one call.
#[derive(Debug)]
pub struct Reply {
    /// The body, or the server's error.
    pub content: Content,
    /// The pod that responded, if the response names it.
    pub pod: Option<Pod>,
    /// The peer address of the connection, if it is known.
    pub peer: Option<SocketAddr>,
    /// Response headers.
    pub headers: HeaderMap,
    /// Trailers; empty over HTTP/1.1.
    pub trailers: HeaderMap,
}

/// The content of a response.
#[derive(Debug)]
pub enum Content {
    /// This system's own greeting. Fields that the response does not have are empty.
    Greeting {
        /// The name that was greeted.
        name: String,
        /// The version of the program that answered.
        version: String,
    },
    /// The message of a gRPC method, as JSON.
    Message(String),
    /// The number of messages of a stream. Each was printed when it arrived.
    Stream(u64),
    /// Any other HTTP response that succeeded.
    Http(HttpContent),
    /// The server responded with an error.
    Error {
        /// The name of the gRPC status, or the HTTP status.
        status: String,
        /// The server's explanation; may be empty.
        message: String,
        /// True if the server does not have the method.
        unimplemented: bool,
    },
}

/// A summary of an HTTP response.
#[derive(Debug)]
pub struct HttpContent {
    /// The status, with its reason.
    pub status: String,
    /// The length of the body, in bytes.
    pub size: u64,
    /// The media type, if the response has one.
    pub media_type: Option<String>,
    /// The beginning of the body, on one line.
    pub excerpt: String,
}

/// The reasons why a call has no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// The command line does not fit the server, so that no later call can succeed.
    Usage(String),
    /// The server could not be reached, or the exchange broke off.
    NoReply(String),
}

// === impl HttpContent ===

impl HttpContent {
    /// Describes a response.
    pub fn new(status: http::StatusCode, headers: &HeaderMap, size: u64, body: &[u8]) -> Self {
        let media_type = headers.get(http::header::CONTENT_TYPE);
        let media_type = media_type.map(|value| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            value.split(';').next().unwrap_or_default().trim().to_owned()
        });
        let text = String::from_utf8_lossy(&body[..body.len().min(4 * MAX_EXCERPT_CHARS)]);
        let binary = text.chars().any(|c| c == '\0' || c == char::REPLACEMENT_CHARACTER);
        let words: Vec<_> = text.split_whitespace().collect();
        let excerpt = if binary { String::new() } else { words.join(" ") };
        Self { status: status.to_string(), size, media_type, excerpt }
    }

    /// Describes the body: `45 bytes of text/html: <html>…`.
    pub fn body(&self) -> String {
        let Self { size, media_type, excerpt, .. } = self;
        let unit = if *size == 1 { "byte" } else { "bytes" };
        let of = media_type.as_ref().map(|media_type| format!(" of {media_type}")).unwrap_or_default();
        let excerpt = match excerpt.as_str() {
            "" => String::new(),
            text => format!(": {}", sanitize::excerpt(text, MAX_EXCERPT_CHARS)),
        };
        format!("{size} {unit}{of}{excerpt}")
    }
}
