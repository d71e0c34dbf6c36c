//! Rejects connections above the limit.

use std::{convert::Infallible, pin::pin};

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderValue, Request, StatusCode, Version,
    header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER},
};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::{net::TcpStream, sync::Notify, time};

use super::{executor::EagerExecutor, timeouts};
use crate::Problem;

/// The gRPC status UNAVAILABLE: the call was not processed and may be sent to another server.
const UNAVAILABLE: &str = "14";

const DETAIL: &str = "the server is at its limit of connections; try again later";

/// Answers the first request of a connection with a rejection, and ends the connection.
pub(super) async fn reject(stream: TcpStream, mut builder: auto::Builder<EagerExecutor>) {
    // Over HTTP/2, hyper refuses further requests, which costs less than a response to each.
    builder.http2().max_concurrent_streams(1);
    let responded = Notify::new();
    let service = service_fn(|request: Request<Incoming>| {
        responded.notify_one();
        let response = response(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let rejection = async {
        tokio::select! {
            ended = connection.as_mut() => return drop(ended),
            () = responded.notified() => {}
        }
        connection.as_mut().graceful_shutdown();
        drop(connection.await);
    };
    // A client that sends no request within this time gets no response.
    drop(time::timeout(timeouts::REJECTION, rejection).await);
}

fn response(request: &Request<Incoming>) -> Response {
    let content_type = request.headers().get(CONTENT_TYPE);
    if content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc")) {
        let headers =
            [("content-type", "application/grpc"), ("grpc-status", UNAVAILABLE), ("grpc-message", DETAIL)];
        return (headers, Body::empty()).into_response();
    }
    let mut response = Problem::new(StatusCode::SERVICE_UNAVAILABLE, DETAIL)
        .header(RETRY_AFTER, HeaderValue::from_static("1"))
        .into_response();
    if request.version() < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
