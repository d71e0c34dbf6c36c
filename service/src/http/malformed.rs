//! The response to a request that cannot be parsed.
//!
//! hyper answers such a request itself, without a body and without calling the service. `ObservedStream` replaces that
//! response by one with a problem as its body. It recognizes the response by its missing request ID: every other response
//! has one.

use axum::body::Bytes;
use http::StatusCode;

use crate::Problem;

/// Returns the response that replaces `written` if that is hyper's own response to a malformed request.
pub(super) fn with_problem(written: &[u8]) -> Option<Bytes> {
    // The fast path of nearly all writes.
    if !written.starts_with(b"HTTP/1.1 4") {
        return None;
    }
    let text = std::str::from_utf8(written).ok()?;
    let status = StatusCode::from_bytes(text.strip_prefix("HTTP/1.1 ")?.get(..3)?.as_bytes()).ok()?;
    let head = text.strip_suffix("\r\n\r\n")?;
    let mut fields = head.split("\r\n").skip(1).map(str::to_ascii_lowercase);
    let only_head = !head.contains("\r\n\r\n") && fields.clone().any(|field| field == "content-length: 0");
    if !only_head || fields.any(|field| field.starts_with("x-request-id:")) {
        return None;
    }
    let detail = match status {
        StatusCode::URI_TOO_LONG => "the URI of the request is too long",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            "the head of the request is larger than MAX_HEADER_LIST_SIZE"
        }
        StatusCode::REQUEST_TIMEOUT => "the head of the request was not complete in time",
        _ => "the request is not valid HTTP; this port does not speak TLS",
    };
    let body = Problem::new(status, detail).render(None);
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    Some([head.as_bytes(), &body].concat().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REJECTED: &str = "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n";

    #[test]
    fn only_an_empty_client_error_without_a_request_id_is_replaced() {
        let replaced = with_problem(REJECTED.as_bytes()).unwrap();
        let text = std::str::from_utf8(&replaced).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["status"], 431);
        for (from, to) in [
            ("431", "200"),
            ("431", "503"),
            ("content-length: 0", "content-length: 2"),
            ("content-length: 0", "content-length: 0\r\nx-request-id: 1"),
            ("HTTP/1.1 ", ""),
            ("\r\n\r\n", "\r\n\r\nHTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"),
            ("\r\n\r\n", "\r\n"),
        ] {
            let other = REJECTED.replacen(from, to, 1);
            assert_eq!(with_problem(other.as_bytes()), None, "{other:?}");
        }
    }
}
