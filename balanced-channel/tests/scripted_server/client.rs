//! Calls that return the raw response.

use std::convert::Infallible;

use balanced_channel::Channel;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::UnboundedReceiverStream};
use tonic::{Code, Status, body::Body};
use tower_service::Service;

use super::{MESSAGE, TEST_TIMEOUT};

/// The outcome of a call.
#[derive(Debug)]
pub struct CallOutput {
    pub code: Code,
    pub message: String,
    pub headers: HeaderMap,
    pub trailers: HeaderMap,
    pub body: Vec<u8>,
}

/// Sends `request` and reads the response to its end.
pub async fn send(channel: &Channel, request: Request<Body>) -> CallOutput {
    let exchange = async {
        let response = channel.clone().call(request).await?;
        let (head, mut body) = response.into_parts();
        let (mut data, mut trailers) = (Vec::new(), None);
        while let Some(frame) = body.frame().await.transpose()? {
            match frame.into_data() {
                Ok(piece) => data.extend_from_slice(&piece),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        let end = Status::from_header_map(trailers.as_ref().unwrap_or(&head.headers));
        let code = end.map_or(Code::Unknown, |status| status.code());
        let trailers = trailers.unwrap_or_default();
        Ok(CallOutput { code, message: String::new(), headers: head.headers, trailers, body: data })
    };
    let got = tokio::time::timeout(TEST_TIMEOUT, exchange).await.expect("a call must end");
    got.unwrap_or_else(|status: Status| CallOutput {
        code: status.code(),
        message: status.message().to_owned(),
        headers: HeaderMap::new(),
        trailers: HeaderMap::new(),
        body: Vec::new(),
    })
}

/// Makes a unary call with one small message.
pub async fn unary(channel: &Channel) -> CallOutput {
    send(channel, request(&[], Full::from(MESSAGE))).await
}

pub fn request(headers: &[(&'static str, &'static str)], body: impl IntoBody) -> Request<Body> {
    let mut request = Request::post("/hello.Hello/SayHello").body(body.into_body()).unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_static(value));
    }
    request
}

/// Returns a request body that the test sends piece by piece.
pub fn upload(pieces: mpsc::UnboundedReceiver<Bytes>) -> impl IntoBody {
    StreamBody::new(UnboundedReceiverStream::new(pieces).map(|piece| Ok(http_body::Frame::data(piece))))
}

pub trait IntoBody {
    fn into_body(self) -> Body;
}

impl<B> IntoBody for B
where
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    fn into_body(self) -> Body {
        Body::new(self.map_err(|never| match never {}))
    }
}
