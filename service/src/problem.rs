//! Failures as responses: problem details (RFC 9457), `application/problem+json`.

use axum::{
    BoxError,
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use serde::Serialize;
use serde_json::{Map, Value};
use tower_http::request_id::RequestId;
use tracing::debug;

/// A failure that becomes a response: a status, a sentence for people, and members for programs.
///
/// The middleware of [`crate::http::finish`] adds the member `request_id`.
///
/// ```
/// use http::{StatusCode, header::RETRY_AFTER};
/// use service::Problem;
///
/// let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the limit of 1000 requests in flight is reached")
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

/// The members in the order in which people read them.
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
    /// Creates a problem of the type `about:blank`: its title is the reason phrase of the status. `detail` is a sentence
    /// that says what failed and what to do.
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), headers: HeaderMap::new(), members: Map::new() }
    }

    /// Adds a header to the response.
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

    /// Returns the status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the body.
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
        // `add_request_id` reads the problem from this extension.
        response.extensions_mut().insert(self);
        response
    }
}

/// Adds the request ID of the response to the body of a problem, and logs the problem.
pub(crate) fn add_request_id<B>(response: Response<B>) -> Response
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let mut response = response.map(Body::new);
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let id = response.extensions().get::<RequestId>().cloned();
        let id = id.as_ref().and_then(|id| id.header_value().to_str().ok());
        debug!(request_id = id, status = problem.status.as_u16(), detail = problem.detail, "request failed");
        *response.body_mut() = Body::from(problem.render(id));
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response
}

#[cfg(test)]
mod tests {
    use http::header::RETRY_AFTER;

    use super::*;

    #[test]
    fn extension_members_come_after_the_standard_ones() {
        let problem =
            Problem::new(StatusCode::BAD_GATEWAY, "it \"failed\"").with("grpc_status", 13).with("b", "c");
        assert_eq!(
            String::from_utf8(problem.render(Some("id"))).unwrap(),
            r#"{"type":"about:blank","title":"Bad Gateway","status":502,"detail":"it \"failed\"","request_id":"id","b":"c","grpc_status":13}"#
        );
    }

    #[test]
    fn response_has_the_status_and_headers_of_the_problem() {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy");
        let response = problem.header(RETRY_AFTER, HeaderValue::from_static("1")).into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    }
}
