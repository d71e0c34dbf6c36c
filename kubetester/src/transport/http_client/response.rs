//! Describes a response: as the content for `kubetester call`, and as the cause of a failed call.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;

use super::connection::BodySize;
use crate::transport::reply::{Content, HttpContent};

/// Describes a response for `kubetester call`; `error` is why it counts as failed.
pub(super) fn content(response: &Response<Bytes>, error: Option<String>) -> Content {
    let (status, body) = (response.status(), response.body());
    let size = response.extensions().get().map_or(0, |BodySize(size)| *size);
    let http = HttpContent::new(status, response.headers(), size, body);
    if let Some(error) = error {
        let status = format!("HTTP {}", http.status);
        // The title and detail of a problem document are more useful than an excerpt of the body.
        let message = match error.strip_prefix(&status) {
            Some("") => http.body(),
            _ => error
                .strip_prefix(&format!("HTTP {} ", response.status().as_u16()))
                .unwrap_or(&error)
                .to_owned(),
        };
        return Content::Error { status, message, unimplemented: false };
    }
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let inner = json.get("response").unwrap_or(&json);
    // A greeting of this system has all three fields.
    if json.get("name").is_some() && inner.get("version").is_some() && inner.get("hostname").is_some() {
        let text =
            |value: &Value, field| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        return Content::Greeting { name: text(&json, "name"), version: text(inner, "version") };
    }
    Content::Http(http)
}

/// Describes an error status: the title and detail of a problem document (RFC 9457), or the status' own reason.
pub(super) fn describe_status(status: StatusCode, body: &[u8]) -> String {
    let problem = serde_json::from_slice::<Value>(body).ok();
    let title = problem.as_ref().and_then(|problem| problem.get("title")).and_then(Value::as_str);
    let detail = problem.as_ref().and_then(|problem| problem.get("detail")).and_then(Value::as_str);
    match (title, detail) {
        (Some(title), Some(detail)) => format!("HTTP {} {title}: {detail}", status.as_u16()),
        (Some(title), None) => format!("HTTP {} {title}", status.as_u16()),
        _ => format!("HTTP {status}"),
    }
}
