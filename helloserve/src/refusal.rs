//! Why a request has no answer, and the one table of the statuses that say so.

use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use service::Problem;

use crate::{
    admission::Overloaded, deadline::DeadlineError, greeting::QueryError, routes::UnknownRoute,
    upstream::Failure,
};

/// Everything that ends a request without an answer from a backend.
#[derive(Debug)]
pub(crate) enum Refusal {
    Overloaded(Overloaded),
    Query(QueryError),
    Route(UnknownRoute),
    Deadline(DeadlineError),
    /// The request has a body; a greeting is asked for with its query alone.
    Body,
    Backend(Failure),
}

// === impl Refusal ===

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Overloaded(error) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
                .header(RETRY_AFTER, HeaderValue::from_static("1")),
            Refusal::Query(error @ QueryError::NameTooLong(_)) => {
                Problem::new(StatusCode::URI_TOO_LONG, error.to_string())
            }
            Refusal::Query(error) => Problem::new(StatusCode::BAD_REQUEST, error.to_string()),
            Refusal::Route(error) => {
                Problem::new(StatusCode::NOT_FOUND, error.to_string()).with("routes", error.known)
            }
            Refusal::Deadline(error) => Problem::new(StatusCode::BAD_REQUEST, error.to_string()),
            Refusal::Body => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "a request for a greeting has no body; leave it out, and give the name in the query: ?name=Ann",
            ),
            Refusal::Backend(failure) => Problem::new(failure.status, failure.sentence),
        }
    }
}
