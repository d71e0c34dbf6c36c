//! Identifies the pod that responded.

use std::{fmt, net::SocketAddr, str::FromStr};

use http::{HeaderMap, HeaderName};
use regex::bytes::Regex;
use serde_json::Value;

/// Where an answer names the pod that gave it (`--pod-from`).
#[derive(Debug, Clone, Default)]
pub enum PodFrom {
    /// The built-in rules: see [`known`].
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

/// The parts of a response that may contain the name.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// Response headers.
    pub headers: &'a HeaderMap,
    /// Trailers, for gRPC.
    pub trailers: Option<&'a HeaderMap>,
    /// The body, for gRPC as JSON.
    pub body: &'a [u8],
    /// The other end of the connection, where it is known.
    pub peer: Option<SocketAddr>,
}

/// A `--pod-from` is invalid.
#[derive(Debug, thiserror::Error)]
#[error("{0}: want /a/json/pointer, header:NAME, regex:EXPRESSION, peer or known")]
pub struct InvalidPodFrom(String);

// === impl PodFrom ===

impl PodFrom {
    /// The name of the pod, if the answer tells it.
    pub fn find(&self, answer: Evidence<'_>) -> Option<String> {
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

/// Knows the answers of this system's gateway (`/response/hostname`) and backends (`/hostname`), of podinfo
/// (`/hostname`), of fake-service (`/ip_addresses`, when it is one), and the text of traefik's whoami
/// (`Hostname: …`).
fn known(body: &[u8]) -> Option<String> {
    if let Ok(Value::Object(body)) = serde_json::from_slice(body) {
        // A gateway names itself at the top and the backend below; the backend is who is asked for.
        if let Some(response) = body.get("response") {
            return response.get("hostname").and_then(text);
        }
        let only =
            |list: &Value| list.as_array().filter(|list| list.len() == 1).and_then(|list| text(&list[0]));
        return body.get("hostname").and_then(text).or_else(|| body.get("ip_addresses").and_then(only));
    }
    let line = body.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Hostname: "))?;
    Some(String::from_utf8_lossy(line.trim_ascii()).into_owned())
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(from: &str, body: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("x-pod", "header-1".parse().unwrap());
        let mut trailers = HeaderMap::new();
        trailers.insert("x-node", "trailer-1".parse().unwrap());
        let peer = Some(([10, 1, 2, 3], 8000).into());
        let evidence = Evidence { headers: &headers, trailers: Some(&trailers), body: body.as_bytes(), peer };
        from.parse::<PodFrom>().unwrap().find(evidence)
    }

    #[test]
    fn knows_this_system_and_popular_echo_servers() {
        for (body, pod) in [
            (
                r#"{"name":"Ann","version":"v1","hostname":"gw","response":{"hostname":"pod-1"}}"#,
                Some("pod-1"),
            ),
            (r#"{"name":"","version":"v1-hellohttp","hostname":"pod-2"}"#, Some("pod-2")),
            (
                r#"{"hostname":"podinfo-59c8-abcde","version":"6.7.1","color":"blue"}"#,
                Some("podinfo-59c8-abcde"),
            ),
            (r#"{"name":"web","ip_addresses":["10.42.0.17"],"body":"Hello"}"#, Some("10.42.0.17")),
            (r#"{"name":"web","ip_addresses":["10.42.0.17","fd00::1"]}"#, None),
            ("Hostname: whoami-5d9c\r\nIP: 127.0.0.1\r\n", Some("whoami-5d9c")),
            (r#"{"hostname":"gw","response":{}}"#, None),
            ("<html>", None),
            ("", None),
            (r#"["hostname"]"#, None),
        ] {
            assert_eq!(find("known", body).as_deref(), pod, "{body}");
        }
    }

    #[test]
    fn looks_where_it_is_told() {
        for (from, pod) in [
            ("/pods/0/name", Some("p")),
            ("/pods/1/name", None),
            ("/n", Some("7")),
            ("header:X-Pod", Some("header-1")),
            ("header:x-node", Some("trailer-1")),
            ("header:absent", None),
            (r#"regex:"name":"(\w)"#, Some("p")),
            ("regex:pods", Some("pods")),
            ("regex:absent", None),
            ("peer", Some("10.1.2.3:8000")),
        ] {
            assert_eq!(find(from, r#"{"pods":[{"name":"p"}],"n":7}"#).as_deref(), pod, "{from}");
        }
    }

    #[test]
    fn says_what_it_takes() {
        for wrong in ["", "hostname", "header:a b", "header:", "regex:(", "body:/x"] {
            let sentence = wrong.parse::<PodFrom>().unwrap_err().to_string();
            assert!(sentence.contains("header:NAME"), "{sentence}");
        }
    }
}
