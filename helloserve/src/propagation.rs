//! Propagates the request ID and the trace context of a request to the backends.
//!
//! The gateway creates no spans. As W3C Trace Context requires of it, it forwards a valid `traceparent` with its
//! `tracestate` unchanged, and drops an invalid one.

use http::{HeaderMap, HeaderName, HeaderValue};

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Returns the headers for the request to a backend.
pub(crate) fn propagated(incoming: &HeaderMap, request_id: Option<&HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(4);
    if let Some(id) = request_id {
        headers.insert(&REQUEST_ID, unindexed(id));
    }
    let mut parents = incoming.get_all(&TRACEPARENT).iter();
    if let (Some(parent), None) = (parents.next(), parents.next())
        && is_traceparent(parent.as_bytes())
    {
        headers.insert(&TRACEPARENT, unindexed(parent));
        for state in incoming.get_all(&TRACESTATE) {
            headers.append(&TRACESTATE, unindexed(state));
        }
    }
    headers
}

/// Marks a value as never indexed (RFC 7541, section 6.2.3). These values differ in each request, so that in HPACK's tables
/// they would only displace values that repeat.
fn unindexed(value: &HeaderValue) -> HeaderValue {
    let mut value = value.clone();
    value.set_sensitive(true);
    value
}

/// Returns whether the value is `version-traceid-parentid-flags` in lower-case hexadecimal, with IDs that are not all zero.
/// The version `ff` is invalid. Versions other than 00 may have more fields after another `-`.
fn is_traceparent(value: &[u8]) -> bool {
    let Some((known, rest)) = value.split_at_checked(55) else { return false };
    let hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let zero = |part: &[u8]| part.iter().all(|byte| *byte == b'0');
    let (version, trace, parent, flags) = (&known[..2], &known[3..35], &known[36..52], &known[53..]);
    [known[2], known[35], known[52]] == *b"---"
        && [version, trace, parent, flags].into_iter().all(hex)
        && version != b"ff"
        && !zero(trace)
        && !zero(parent)
        && (rest.is_empty() || (version != b"00" && rest[0] == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers_for(parents: &[&str]) -> HeaderMap {
        let mut incoming = HeaderMap::new();
        incoming.insert("cookie", HeaderValue::from_static("secret"));
        incoming.append("tracestate", HeaderValue::from_static("a=1"));
        incoming.append("tracestate", HeaderValue::from_static("b=2"));
        for parent in parents {
            incoming.append("traceparent", HeaderValue::from_str(parent).unwrap());
        }
        propagated(&incoming, Some(&HeaderValue::from_static("id-1")))
    }

    #[test]
    fn valid_trace_context_is_forwarded_unchanged() {
        for parent in [PARENT.to_owned(), PARENT.replacen("00-", "cc-", 1) + "-more"] {
            let headers = headers_for(&[&parent]);
            assert_eq!(headers["traceparent"], parent.as_str());
            assert_eq!(headers.get_all("tracestate").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
            assert_eq!((headers["x-request-id"].as_bytes(), headers.len()), (&b"id-1"[..], 4));
        }
    }

    #[test]
    fn invalid_trace_context_is_dropped() {
        let broken = [
            "",
            "00",
            &PARENT.to_uppercase(),
            &PARENT[..54],
            &PARENT.replacen("00-", "ff-", 1),
            &format!("{PARENT}-more"),
            &(PARENT.replacen("00-", "cc-", 1) + "more"),
            &PARENT.replace('-', "_"),
            &PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &PARENT.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &PARENT.replace("4bf9", "4bg9"),
        ];
        for parent in broken {
            assert_eq!(headers_for(&[parent]).len(), 1, "{parent:?}");
        }
        assert_eq!(headers_for(&[PARENT, PARENT]).len(), 1);
        assert_eq!(headers_for(&[]).len(), 1);
    }
}
