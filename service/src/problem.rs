//! Failures as answers: problem details of RFC 9457, `application/problem+json`.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::debug;

/// A failure that becomes an answer: a status, one sentence for a person, and what a program may want to know.
///
/// The layer of [`crate::http::finish`] adds the member `request_id`.
///
/// ```
/// use http::{StatusCode, header::RETRY_AFTER};
/// use service::Problem;
///
/// let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "1000 requests are in flight, the limit")
///     .header(RETRY_AFTER, "1".parse().unwrap())
///     .with("limit", 1000);
/// assert_eq!(problem.status(), 503);
/// ```
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    headers: HeaderMap,
    members: Map<String, Value>,
}

/// The members in the order a person reads them.
#[derive(Serialize)]
struct Rendered<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(flatten)]
    members: &'a Map<String, Value>,
}

// === impl Problem ===

impl Problem {
    /// A problem without a type of its own: its title is the status's phrase, `detail` says what went wrong here,
    /// on what, and what to try.
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), headers: HeaderMap::new(), members: Map::new() }
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Adds an extension member (RFC 9457, section 3.2).
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.members.insert(key.into(), value.into());
        self
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The body, with the id of the request it answers.
    pub(crate) fn render(&self, request_id: Option<&str>) -> Vec<u8> {
        let rendered = Rendered {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            request_id,
            members: &self.members,
        };
        serde_json::to_vec(&rendered).expect("strings and JSON values always serialize")
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.status, self.detail)
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.render(None)));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        // The request's id is not known here; the layer that knows it finds the problem by this extension.
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the request's id into the body, when the response is a problem. Logs it for who looks closely: at any
/// higher level, one broken backend would fill the log.
pub(crate) fn name_request(response: &mut Response, request_id: &str) {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return };
    debug!(request_id, status = problem.status.as_u16(), "{}", problem.detail);
    *response.body_mut() = Body::from(problem.render(Some(request_id)));
    response.headers_mut().remove(CONTENT_LENGTH);
}

#[cfg(test)]
mod tests {
    use http::header::RETRY_AFTER;

    use super::*;

    #[test]
    fn members_come_after_those_of_the_standard() {
        let problem =
            Problem::new(StatusCode::BAD_GATEWAY, "it \"failed\"").with("grpc_status", 13).with("b", "c");
        assert_eq!(
            String::from_utf8(problem.render(Some("id"))).unwrap(),
            r#"{"type":"about:blank","title":"Bad Gateway","status":502,"detail":"it \"failed\"","request_id":"id","b":"c","grpc_status":13}"#
        );
    }

    #[test]
    fn the_answer_has_its_status_and_headers() {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy");
        let response = problem.header(RETRY_AFTER, HeaderValue::from_static("1")).into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    }
}
