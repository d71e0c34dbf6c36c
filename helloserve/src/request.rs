//! The extractors of the handlers: the admission of a request, and its query, time limit and propagated headers.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, Query, Request},
};
use http::{HeaderMap, request::Parts};
use http_body::Body as _;
use serde::Deserialize;
use service::request_id::RequestId;
use tokio::time::timeout;

use crate::{
    admission::Permit, deadline::effective_timeout, error::Error, gateway::Gateway, propagation::propagated,
};

/// The longest name that the gateway forwards, in bytes after decoding.
const MAX_NAME_BYTES: usize = 1024;

/// The query of `/hellogrpc` and `/hellohttp`. Other keys are ignored.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) struct GreetingQuery {
    /// The name to greet; empty when the query has none.
    #[serde(default)]
    pub(crate) name: String,
    /// The name of the route, if the caller selects one.
    pub(crate) via: Option<String>,
}

/// A request for a greeting, ready to be forwarded.
#[derive(Debug)]
pub(crate) struct GreetingRequest {
    pub(crate) query: GreetingQuery,
    /// The headers for the backend.
    pub(crate) headers: HeaderMap,
    /// The time limit of the backend, from the first connection attempt to the last byte of the response.
    pub(crate) timeout: Duration,
}

// === impl Permit ===

/// Runs before the body is read, so that a rejected request costs little.
impl FromRequestParts<Arc<Gateway>> for Permit {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Error> {
        Ok(gateway.admission.try_acquire(&parts.extensions)?)
    }
}

// === impl GreetingRequest ===

impl FromRequest<Arc<Gateway>> for GreetingRequest {
    type Rejection = Error;

    async fn from_request(request: Request, gateway: &Arc<Gateway>) -> Result<Self, Error> {
        let Query(query) = Query::<GreetingQuery>::try_from_uri(request.uri()).map_err(Error::Query)?;
        if query.name.len() > MAX_NAME_BYTES {
            return Err(Error::NameTooLong { length: query.name.len(), limit: MAX_NAME_BYTES });
        }
        let timeout = effective_timeout(request.headers(), gateway.upstream_timeout)?;
        let id = request.extensions().get::<RequestId>().map(RequestId::header_value);
        let headers = propagated(request.headers(), id);
        require_empty(request.into_body(), timeout).await?;
        Ok(Self { query, headers, timeout })
    }
}

/// Checks that a body is empty: without bytes, whether it is chunked, has empty DATA frames or does not exist.
async fn require_empty(body: Body, limit: Duration) -> Result<(), Error> {
    if body.is_end_stream() {
        return Ok(());
    }
    if body.size_hint().lower() > 0 {
        return Err(Error::RequestBody);
    }
    match timeout(limit, axum::body::to_bytes(body, 0)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(Error::RequestBody),
        Err(_) => Err(Error::RequestTimeout(limit)),
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::rejection::QueryRejection;

    use super::*;

    fn query(text: &str) -> Result<GreetingQuery, QueryRejection> {
        let uri = format!("http://gateway/hellogrpc?{text}").parse().unwrap();
        Query::try_from_uri(&uri).map(|Query(query)| query)
    }

    #[test]
    fn encoded_name_is_decoded() {
        for (text, expected) in [
            ("", ""),
            ("name", ""),
            ("name=", ""),
            ("name=Ann", "Ann"),
            ("x=1&name=Ann&name2=Bob", "Ann"),
            ("n%61me=Ann", "Ann"),
            ("name=a+b%20c%2Bd", "a b c+d"),
            ("name=a=b?c/d", "a=b?c/d"),
            ("name=%C5%81ukasz", "Łukasz"),
            ("name=%00%0a%F0%9F%91%8B", "\0\n👋"),
        ] {
            assert_eq!(query(text).unwrap().name, expected, "{text}");
        }
    }

    #[test]
    fn via_is_optional_and_decoded() {
        for (text, expected) in [
            ("name=Ann", None),
            ("vi=a&Via=b", None),
            ("via", Some("")),
            ("via=pick_first", Some("pick_first")),
            ("name=Ann&v%69a=a+b", Some("a b")),
        ] {
            assert_eq!(query(text).unwrap().via.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn repeated_key_is_an_error() {
        for text in ["name=a&name=b", "name=&name=", "via=a&via=a", "name=a&n%61me=b"] {
            assert!(query(text).is_err(), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn body_with_bytes_or_without_an_end_is_an_error() {
        let chunks = |chunks: &'static [&'static str]| {
            Body::from_stream(futures_util::stream::iter(
                chunks.iter().map(|chunk| Ok::<_, std::io::Error>(*chunk)),
            ))
        };
        let limit = Duration::from_secs(1);
        for body in [Body::empty(), Body::from(""), chunks(&[]), chunks(&[""])] {
            assert!(require_empty(body, limit).await.is_ok());
        }
        for body in [Body::from("a"), chunks(&["a"]), chunks(&["", "a"])] {
            assert!(matches!(require_empty(body, limit).await, Err(Error::RequestBody)));
        }
        let endless = Body::from_stream(futures_util::stream::pending::<Result<&str, std::io::Error>>());
        assert!(matches!(require_empty(endless, limit).await, Err(Error::RequestTimeout(_))));
    }
}
