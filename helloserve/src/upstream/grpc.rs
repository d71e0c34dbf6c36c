//! Calls to the gRPC backends over a balanced channel.

use std::time::Duration;

use balanced_channel::Channel;
use http::HeaderMap;
use proto::hello::{Greeting, Introduction, hello_client::HelloClient};
use tonic::{Code, Request, Status, metadata::MetadataMap};

use super::{FailureKind, MAX_RESPONSE_BYTES, UpstreamError, excerpt};

/// A client of `hello.Hello` over one balanced channel.
#[derive(Debug)]
pub(crate) struct GrpcUpstream {
    pub(crate) channel: Channel,
    client: HelloClient<Channel>,
}

// === impl GrpcUpstream ===

impl GrpcUpstream {
    pub(crate) fn new(channel: Channel) -> Self {
        let client = HelloClient::new(channel.clone()).max_decoding_message_size(MAX_RESPONSE_BYTES);
        Self { channel, client }
    }

    /// Calls `SayHello`. The channel enforces `timeout`.
    ///
    /// # Errors
    ///
    /// If the call fails; see [`kind`].
    pub(crate) async fn greet(
        &self,
        name: String,
        headers: HeaderMap,
        timeout: Duration,
    ) -> Result<Introduction, UpstreamError> {
        let mut request =
            Request::from_parts(MetadataMap::from_headers(headers), Default::default(), Greeting { name });
        request.set_timeout(timeout);
        let response = self.client.clone().say_hello(request).await;
        response.map(tonic::Response::into_inner).map_err(|status| UpstreamError {
            backend: "gRPC",
            kind: kind(&status),
            detail: excerpt(format_args!("{:?}: {}", status.code(), status.message())),
        })
    }
}

/// Maps a gRPC status to a kind of failure. Only statuses about the request itself blame the caller; all others are failures
/// behind the gateway.
fn kind(status: &Status) -> FailureKind {
    match status.code() {
        Code::Unavailable => FailureKind::Unavailable,
        Code::DeadlineExceeded => FailureKind::Timeout,
        Code::InvalidArgument => FailureKind::InvalidArgument,
        Code::ResourceExhausted => FailureKind::ResourceExhausted,
        // tonic's status for a message that exceeds the decoder's size limit.
        Code::OutOfRange => FailureKind::InvalidResponse,
        _ => FailureKind::ErrorStatus,
    }
}
