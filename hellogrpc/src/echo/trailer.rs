//! A trailer beside the status of a successful call, for which tonic's server has no API.

use http::{HeaderName, HeaderValue, Response};
use http_body_util::BodyExt as _;
use tonic::body::Body;

/// A response extension: the trailer that [`add_trailer`] adds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trailer {
    /// In lower case.
    pub(crate) name: &'static str,
    pub(crate) value: &'static str,
}

/// Adds the response's [`Trailer`], if it has one, to the trailers of its body.
pub(crate) fn add_trailer(response: Response<Body>) -> Response<Body> {
    let Some(&Trailer { name, value }) = response.extensions().get() else { return response };
    response.map(|body| {
        Body::new(body.map_frame(move |mut frame| {
            if let Some(trailers) = frame.trailers_mut() {
                trailers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            frame
        }))
    })
}
