//! The lines that `kubetester call` prints. A function that prints them returns false if standard output is a
//! closed pipe.

use std::time::Duration;

use http::HeaderMap;

use super::{CliError, known_methods::KnownMethod, output};
use crate::{
    render::{self, time},
    result::LoadResult,
    sanitize,
    transport::{Content, Reply},
};

/// The maximum number of characters of a message that are printed.
const MAX_MESSAGE_CHARS: usize = 16 * 1024;

/// The outcome of one call.
pub(super) enum Outcome {
    /// The server responded.
    Reply(Box<Reply>),
    /// The call failed without a response, for this reason.
    NoReply(String),
}

/// Prints the lines of calls.
pub(super) struct Lines {
    pub(super) known_method: Option<KnownMethod>,
    pub(super) verbose: bool,
    /// True if nothing is printed after the method's own line.
    pub(super) brief: bool,
}

// === impl Outcome ===

impl Outcome {
    /// Returns the pod that responded, and the cause if the call failed.
    pub(super) fn sample(&self) -> (Option<String>, Option<String>) {
        match self {
            Self::NoReply(why) => (None, Some(sanitize::reason(why.clone()))),
            Self::Reply(reply) => {
                let Reply { content, pod, .. } = &**reply;
                let pod = pod.as_ref().map(|pod| sanitize::name(pod.name.clone()));
                let error = match content {
                    Content::Error { status, message, .. } if message.is_empty() => Some(status.clone()),
                    Content::Error { status, message, .. } => Some(format!("{status}: {message}")),
                    _ => None,
                };
                (pod, error.map(sanitize::reason))
            }
        }
    }
}

// === impl Lines ===

impl Lines {
    /// Prints the line before a call.
    pub(super) fn before(&self) -> Result<bool, CliError> {
        self.known_method.and_then(KnownMethod::before).map_or(Ok(true), |line| print(&line))
    }

    /// Prints a message of a stream.
    pub(super) fn message(&self, json: &str) -> Result<bool, CliError> {
        let line = self.known_method.and_then(|known_method| known_method.line(json, None));
        print(line.as_deref().unwrap_or(json))
    }

    /// Prints the lines after a call.
    pub(super) fn print(&self, outcome: &Outcome, latency: Duration) -> Result<bool, CliError> {
        let took = time(latency.as_secs_f64());
        let Reply { content, pod, peer, headers, trailers } = match outcome {
            Outcome::Reply(reply) => &**reply,
            Outcome::NoReply(why) => {
                return print(&format!("No answer after {took}: {}", sanitize::reason(why.clone())));
            }
        };
        let name = pod.as_ref().map(|pod| pod.name.as_str());
        let peer = peer.map(|peer| peer.to_string());
        let pod = name.map(|name| sanitize::name(name.to_owned()));
        let pod = pod.or_else(|| peer.clone()).unwrap_or_else(|| "the server".to_owned());
        let via = peer.filter(|peer| *peer != pod).map(|peer| format!(" via {peer}")).unwrap_or_default();
        let line = match content {
            Content::Greeting { name, version } => {
                let name = if name.is_empty() { "stranger" } else { name };
                let version = if version.is_empty() { String::new() } else { format!(" ({version})") };
                format!("Hello {name} from {pod}{version} in {took}{via}")
            }
            Content::Message(json) => {
                if let Some(line) = self.known_method.and_then(|known_method| known_method.line(json, name)) {
                    let open = print(&line)?;
                    if self.brief {
                        return Ok(open);
                    }
                }
                let json = sanitize::excerpt(json, MAX_MESSAGE_CHARS);
                format!("{json} from {pod} in {took}{via}")
            }
            Content::Stream(messages) => {
                let unit = if *messages == 1 { "message" } else { "messages" };
                format!("{messages} {unit} from {pod} in {took}{via}")
            }
            Content::Http(http) => {
                format!("HTTP {} from {pod} in {took}{via}: {}", http.status, http.body())
            }
            Content::Error { status, message, .. } => {
                let message = sanitize::reason(message.clone());
                let message = if message.is_empty() { String::new() } else { format!(": {message}") };
                format!("{status} from {pod} after {took}{via}{message}")
            }
        };
        let mut open = print(&line)?;
        if self.verbose {
            open &= fields("header", headers)?;
            open &= fields("trailer", trailers)?;
        }
        Ok(open)
    }
}

/// Prints a line that is sanitized for a terminal.
pub(super) fn print(line: &str) -> Result<bool, CliError> {
    let line = sanitize::excerpt(line, 2 * MAX_MESSAGE_CHARS) + "\n";
    output::write_unless_closed(line.as_bytes())
}

/// Prints the summary of all calls.
pub(super) fn summary(result: &LoadResult) -> Result<(), CliError> {
    output::write(format!("\n{}", render::load(result)).as_bytes())
}

fn fields(kind: &str, fields: &HeaderMap) -> Result<bool, CliError> {
    let mut open = true;
    for (name, value) in fields {
        open &= print(&format!("  {kind} {name}: {}", String::from_utf8_lossy(value.as_bytes())))?;
    }
    Ok(open)
}
