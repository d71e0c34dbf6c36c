//! Prepares the head of a request: the URI, `user-agent`, and no headers that HTTP/2 forbids.

use std::mem;

use http::{
    HeaderMap, HeaderName, HeaderValue, header,
    request::Parts,
    uri::{PathAndQuery, Uri},
};
use tonic::Status;

use super::CallExecutor;

const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("balanced-channel/", env!("CARGO_PKG_VERSION")));

impl CallExecutor {
    /// Makes the URI absolute, as HTTP/2 requires, and adds `user-agent`.
    pub(super) fn address(&self, head: &mut Parts) -> Result<(), Status> {
        let mut uri = mem::take(&mut head.uri).into_parts();
        uri.scheme = Some(self.scheme.clone());
        uri.authority = Some(self.authority.clone());
        uri.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
        head.uri = Uri::from_parts(uri)
            .map_err(|error| Status::internal(format!("the call's path cannot be sent: {error}")))?;
        if head.headers.iter().any(belongs_to_http1) {
            strip(&mut head.headers);
        }
        head.headers.entry(header::USER_AGENT).or_insert(USER_AGENT);
        Ok(())
    }
}

/// Returns whether a header is specific to an HTTP/1 connection. HTTP/2 forbids such headers (RFC 9113, section 8.2.2);
/// a caller may have copied them from an incoming request.
fn belongs_to_http1((name, value): (&HeaderName, &HeaderValue)) -> bool {
    match name.as_str() {
        "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => true,
        "te" => value != "trailers",
        _ => false,
    }
}

/// Removes the headers that are specific to an HTTP/1 connection, and those that the connection header names.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(',').filter_map(|name| name.trim().parse().ok()))
        .collect();
    let forbidden: Vec<HeaderName> =
        headers.iter().filter(|header| belongs_to_http1(*header)).map(|(name, _)| name.clone()).collect();
    for name in forbidden.into_iter().chain(named) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_headers_are_removed() {
        let mut headers: HeaderMap = [
            ("te", "gzip"),
            ("connection", "keep-alive, x-hop"),
            ("keep-alive", "timeout=5"),
            ("x-hop", "1"),
            ("x-end", "2"),
        ]
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .into_iter()
        .collect();
        assert!(headers.iter().any(belongs_to_http1));
        strip(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-end"]);
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        assert!(!headers.iter().any(belongs_to_http1));
    }
}
