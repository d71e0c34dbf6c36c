//! One id per request, in the logs of every program it meets: the header `x-request-id`.
//!
//! Each request is logged with its id, for whoever asks: `LOG_FILTER=info,access=debug`.

use std::{
    cell::RefCell,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::response::Response;
use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tracing::{Level, debug, enabled};

use crate::{Problem, problem};

/// The header that carries the id.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The target of the log lines.
const ACCESS: &str = "access";

/// Longer ids are replaced: they would be copied into every log line and every call behind us.
const MAX_LENGTH: usize = 128;

/// Bytes of an id that is made here.
const MADE_LENGTH: usize = 32;

/// So many ids are written on one sheet. An id is copied into headers and calls; cut from a sheet, it and its copies
/// share one allocation with its neighbours.
const SHEET_IDS: usize = 64;

thread_local! {
    /// What is left of the sheet.
    static SHEET: RefCell<BytesMut> = RefCell::default();
}

/// The id of the request at hand; an extension of every request that went through [`crate::http::finish`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

// === impl RequestId ===

impl RequestId {
    /// The id that the request came with, or a new one when it has none or one that no log should meet: longer
    /// than 128 bytes, empty, or with anything but visible ASCII.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        headers
            .get(HEADER)
            .filter(|value| is_sane(value))
            .map_or_else(Self::random, |value| Self(value.clone()))
    }

    /// A new id: 128 random bits in hex, as W3C trace ids are.
    #[must_use]
    pub fn random() -> Self {
        let random = fastrand::u128(..).to_be_bytes();
        let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
        let mut text = [0; MADE_LENGTH];
        for (pair, byte) in text.chunks_exact_mut(2).zip(random) {
            (pair[0], pair[1]) = (digit(byte >> 4), digit(byte & 0xf));
        }
        let text = SHEET.with_borrow_mut(|sheet| {
            if sheet.capacity() < MADE_LENGTH {
                *sheet = BytesMut::with_capacity(SHEET_IDS * MADE_LENGTH);
            }
            sheet.extend_from_slice(&text);
            sheet.split().freeze()
        });
        Self(HeaderValue::from_maybe_shared(text).expect("hex digits make a header value"))
    }

    /// The id as a header's value.
    #[must_use]
    pub fn header(&self) -> &HeaderValue {
        &self.0
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("only visible ASCII is taken")
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_sane(value: &HeaderValue) -> bool {
    (1..=MAX_LENGTH).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
}

/// Gives each request its id, and each answer too: as a header, and as a member when it is a problem.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestIdLayer;

/// See [`RequestIdLayer`].
#[derive(Clone, Debug)]
pub(crate) struct WithRequestId<S> {
    inner: S,
}

pin_project! {
    /// See [`RequestIdLayer`].
    pub(crate) struct ResponseFuture<F> {
        #[pin]
        inner: F,
        id: RequestId,
        asked: Option<Box<Asked>>,
    }
}

/// What the log says was asked. Kept only when it is logged.
struct Asked {
    method: Method,
    uri: Uri,
    at: Instant,
}

// === impl RequestIdLayer ===

impl<S> tower::Layer<S> for RequestIdLayer {
    type Service = WithRequestId<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WithRequestId { inner }
    }
}

impl<S, B> tower::Service<Request<B>> for WithRequestId<S>
where
    S: tower::Service<Request<B>, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let id = RequestId::from_headers(request.headers());
        request.extensions_mut().insert(id.clone());
        let asked = enabled!(target: ACCESS, Level::DEBUG).then(|| {
            Box::new(Asked {
                method: request.method().clone(),
                uri: request.uri().clone(),
                at: Instant::now(),
            })
        });
        ResponseFuture { inner: self.inner.call(request), id, asked }
    }
}

impl<F: Future<Output = Result<Response, E>>, E> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        if let Some(asked) = this.asked.take() {
            let Asked { method, uri, at } = *asked;
            let problem = response.extensions().get::<Problem>().map(tracing::field::display);
            let (status, took) = (response.status().as_u16(), at.elapsed());
            debug!(target: ACCESS, request_id = %this.id, status, ?took, problem, "{method} {uri}");
        }
        problem::name_request(&mut response, this.id.as_str());
        response.headers_mut().insert(HEADER, this.id.0.clone());
        Poll::Ready(Ok(response))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_for(value: &[u8]) -> RequestId {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_bytes(value).unwrap());
        RequestId::from_headers(&headers)
    }

    #[test]
    fn takes_sane_ids_and_replaces_others() {
        assert_eq!(id_for(b"a-1_B.2:3/4").as_str(), "a-1_B.2:3/4");
        assert_eq!(id_for(&[b'x'; 128]).as_str(), "x".repeat(128));
        for bad in [&b""[..], &[b'x'; 129], b"two words", b"tab\there", "na\u{ef}ve".as_bytes()] {
            let id = id_for(bad);
            assert_eq!(id.as_str().len(), 32, "{bad:?}");
            assert!(id.as_str().bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        }
    }

    #[test]
    fn made_ids_differ() {
        assert_ne!(RequestId::from_headers(&HeaderMap::new()), RequestId::from_headers(&HeaderMap::new()));
    }
}
