//! The failures of a request, and their mapping to responses.

use std::time::Duration;

use axum::{
    extract::rejection::QueryRejection,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use service::Problem;

use crate::{
    admission::Overloaded, deadline::InvalidTimeout, grpc_routes::UnknownRoute, upstream::UpstreamError,
};

/// The reasons why a request gets no response from a backend.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    #[error("query is invalid: {}", .0.body_text())]
    Query(QueryRejection),
    #[error("name has {length} bytes; the limit is {limit}")]
    NameTooLong { length: usize, limit: usize },
    #[error(transparent)]
    Timeout(#[from] InvalidTimeout),
    #[error("request has a body; omit it and send the name in the query: ?name=Ann")]
    RequestBody,
    #[error("request body did not end within {0:?}; a request for a greeting has no body")]
    RequestTimeout(Duration),
    #[error(transparent)]
    Route(#[from] UnknownRoute),
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

// === impl Error ===

impl Error {
    fn status(&self) -> StatusCode {
        match self {
            Self::Overloaded(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Query(_) | Self::Timeout(_) => StatusCode::BAD_REQUEST,
            Self::NameTooLong { .. } => StatusCode::URI_TOO_LONG,
            Self::RequestBody => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RequestTimeout(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Route(_) => StatusCode::NOT_FOUND,
            Self::Upstream(error) => error.kind.status(),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let problem = Self::new(error.status(), error.to_string());
        match error {
            Error::Overloaded(_) => problem.header(RETRY_AFTER, HeaderValue::from_static("1")),
            Error::Route(error) => problem.with("routes", error.known),
            Error::Upstream(error) => {
                problem.with("backend", error.backend).with("failure", error.kind.name())
            }
            _ => problem,
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}
