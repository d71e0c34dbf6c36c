//! Identifies the pod that responded.

use std::{fmt, net::SocketAddr, str::FromStr, sync::OnceLock};

use http::{HeaderMap, HeaderName};
use regex::bytes::Regex;
use serde_json::Value;

/// The maximum number of headers of an answer that are listed.
const MAX_SEEN_HEADERS: usize = 20;

/// The response header in which servers name their pod.
pub(crate) const HOSTNAME: &str = "hostname";

/// The words before the pod's name in an echo server's text.
const FROM_HOSTNAME: &str = "from hostname ";

/// The place where an answer names its pod (`--pod-from`).
#[derive(Debug, Clone, Default)]
pub enum PodFrom {
    /// The built-in rules: what [`known`] finds in the body, else the header `hostname`, else, of a balanced target,
    /// the address at the other end of the connection.
    #[default]
    Known,
    /// A JSON pointer (RFC 6901) into the body.
    Pointer(String),
    /// A response header, or a trailer of that name.
    Header(HeaderName),
    /// The first group, or else the whole match, of a regular expression on the body.
    Regex(Regex),
    /// The address at the other end of the connection; behind a proxy or a ClusterIP that is not the pod.
    Peer,
}

/// A pod that responded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// The pod's name, or the address that stands for it.
    pub name: String,
    /// The source of the name.
    pub source: PodSource,
}

/// The source of a pod's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodSource {
    /// The place that `--pod-from` names.
    Configured,
    /// A field or a phrase of the body that the tool knows.
    Body,
    /// The response header `hostname`.
    Header,
    /// The address at the other end of the connection.
    Peer,
}

/// The built-in rules over the calls to one target. The first successful response decides where names are from, so
/// that one pod never counts under two names.
#[derive(Debug)]
pub struct KnownPlaces {
    source: OnceLock<PodSource>,
    peer_is_pod: bool,
}

/// The parts of a response that may contain the name.
#[derive(Debug, Clone, Copy)]
pub struct ResponseParts<'a> {
    /// Response headers.
    pub headers: &'a HeaderMap,
    /// Trailers, for gRPC.
    pub trailers: Option<&'a HeaderMap>,
    /// The body, for gRPC as JSON.
    pub body: &'a [u8],
    /// The other end of the connection, where it is known.
    pub peer: Option<SocketAddr>,
}

/// The headers of the first answer without the header of `--pod-from`.
#[derive(Debug, Default)]
pub struct SeenHeaders(OnceLock<Vec<String>>);

/// A `--pod-from` is invalid.
#[derive(Debug, thiserror::Error)]
#[error("{0}: want /a/json/pointer, header:NAME, regex:EXPRESSION, peer or known")]
pub struct InvalidPodFrom(String);

// === impl PodFrom ===

impl PodFrom {
    /// Returns the name of the pod, if the answer has it.
    pub fn find(&self, answer: ResponseParts<'_>) -> Option<String> {
        let found = match self {
            Self::Known => known(answer.body),
            Self::Pointer(pointer) => {
                let body: Value = serde_json::from_slice(answer.body).ok()?;
                body.pointer(pointer).and_then(text)
            }
            Self::Header(name) => {
                let trailer = || answer.trailers.and_then(|trailers| trailers.get(name));
                let value = answer.headers.get(name).or_else(trailer)?;
                Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
            }
            Self::Regex(expression) => {
                let captures = expression.captures(answer.body)?;
                let group = captures.get(1).or_else(|| captures.get(0))?;
                Some(String::from_utf8_lossy(group.as_bytes()).into_owned())
            }
            Self::Peer => answer.peer.map(|peer| peer.to_string()),
        };
        found.filter(|name| !name.is_empty())
    }
}

// === impl SeenHeaders ===

impl SeenHeaders {
    /// Records the headers of a successful answer that does not name its pod.
    pub fn record(&self, pod_from: &PodFrom, headers: &HeaderMap) {
        if matches!(pod_from, PodFrom::Header(_)) {
            self.0.get_or_init(|| headers.keys().take(MAX_SEEN_HEADERS).map(ToString::to_string).collect());
        }
    }

    /// Returns the names of the headers, in the order of the answer.
    pub fn names(&self) -> Vec<String> {
        self.0.get().cloned().unwrap_or_default()
    }
}

// === impl KnownPlaces ===

impl KnownPlaces {
    /// Creates the rules for a target. `peer_is_pod`: the target is balanced, so that each connection ends at a pod
    /// instead of a proxy or a virtual address.
    pub fn new(peer_is_pod: bool) -> Self {
        Self { source: OnceLock::new(), peer_is_pod }
    }

    /// Returns where names are from, once a successful response has decided that.
    pub fn source(&self) -> Option<PodSource> {
        self.source.get().copied()
    }

    /// Returns whether [`KnownPlaces::find`] may use the address of the peer.
    pub fn wants_peer(&self) -> bool {
        self.peer_is_pod && self.source().is_none_or(|source| source == PodSource::Peer)
    }

    /// Returns the pod that sent a response. `in_body` looks for a name in the body.
    pub fn find(
        &self,
        succeeded: bool,
        in_body: impl Fn() -> Option<String>,
        headers: &HeaderMap,
        peer: Option<SocketAddr>,
    ) -> Option<Pod> {
        let read = |source| {
            let name = match source {
                PodSource::Configured => None,
                PodSource::Body => in_body(),
                PodSource::Header => {
                    headers.get(HOSTNAME).map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned())
                }
                PodSource::Peer => peer.filter(|_| self.peer_is_pod).map(|peer| peer.to_string()),
            };
            name.filter(|name| !name.is_empty()).map(|name| Pod { name, source })
        };
        if let Some(source) = self.source() {
            return read(source);
        }
        let first = || [PodSource::Body, PodSource::Header, PodSource::Peer].into_iter().find_map(read);
        if !succeeded {
            // An error may come from a proxy, so it does not decide.
            return None;
        }
        let pod = first()?;
        match *self.source.get_or_init(|| pod.source) {
            source if source == pod.source => Some(pod),
            // Another response was faster.
            source => read(source),
        }
    }
}

impl fmt::Display for PodSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configured => "--pod-from",
            Self::Body => "the response body",
            Self::Header => "the response header hostname",
            Self::Peer => "the address of the peer",
        })
    }
}

impl FromStr for PodFrom {
    type Err = InvalidPodFrom;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |why: &dyn fmt::Display| InvalidPodFrom(format!("{text:?} {why}"));
        match text.split_once(':') {
            _ if text == "known" => Ok(Self::Known),
            _ if text == "peer" => Ok(Self::Peer),
            _ if text.starts_with('/') => Ok(Self::Pointer(text.to_owned())),
            Some(("header", name)) => {
                name.trim().parse().map(Self::Header).map_err(|_| wrong(&"does not name a header"))
            }
            Some(("regex", expression)) => {
                let hint = |_| wrong(&"is not a regular expression that this program knows");
                Regex::new(expression).map(Self::Regex).map_err(hint)
            }
            _ => Err(wrong(&"is not a place in an answer")),
        }
    }
}

/// Finds the name in the responses of this system's gateway (`/response/hostname`) and backends (`/hostname`), of
/// podinfo (`/hostname`), of echo servers (`/serverID`, `from hostname NAME`), of fake-service (`/ip_addresses`, when
/// it is one), and in the text of traefik's whoami (`Hostname: …`).
pub(crate) fn known(body: &[u8]) -> Option<String> {
    if let Ok(Value::Object(body)) = serde_json::from_slice(body) {
        // A gateway names itself at the top and the backend below; the backend is the pod to count.
        if let Some(response) = body.get("response") {
            return response.get("hostname").and_then(text);
        }
        let only =
            |list: &Value| list.as_array().filter(|list| list.len() == 1).and_then(|list| text(&list[0]));
        let named = ["hostname", "serverID"].iter().find_map(|field| body.get(*field).and_then(text));
        let phrase = || body.get("message").and_then(Value::as_str).and_then(from_hostname);
        return named.or_else(|| body.get("ip_addresses").and_then(only)).or_else(phrase);
    }
    let line = body.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Hostname: "));
    if let Some(line) = line {
        return Some(String::from_utf8_lossy(line.trim_ascii()).into_owned());
    }
    str::from_utf8(body).ok().and_then(from_hostname)
}

/// Returns the name after `from hostname` in a text.
pub(crate) fn from_hostname(text: &str) -> Option<String> {
    let (_, rest) = text.split_once(FROM_HOSTNAME)?;
    rest.split_whitespace().next().map(str::to_owned)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
