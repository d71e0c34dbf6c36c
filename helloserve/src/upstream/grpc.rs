//! The way to the gRPC backend: a call over the balanced channel, and its status as HTTP says it.

use std::{fmt, time::Duration};

use balanced_channel::{Channel, Target};
use http::{HeaderMap, StatusCode, uri::PathAndQuery};
use proto::hello::{Greeting, Introduction};
use tonic::{
    Code, Extensions, GrpcMethod, Request, Status,
    client::Grpc,
    codec::{BufferSettings, Codec},
    metadata::MetadataMap,
};
use tonic_prost::ProstCodec;

use super::{Backend, Failure, MAX_ANSWER};

/// The method that is called, as a path and by its names.
const SAY_HELLO: &str = "/hello.Hello/SayHello";
const SERVICE: &str = "hello.Hello";
const METHOD: &str = "SayHello";

/// Bytes that a message is given at first, in and out; it gets more when it needs them.
const USUAL_MESSAGE: usize = 256;

/// One way to the gRPC backend. The channel is made once; a call clones a handle.
#[derive(Debug)]
pub(crate) struct GrpcUpstream {
    pub(crate) backend: Backend,
    pub(crate) channel: Channel,
    client: Grpc<Channel>,
    /// Whether the channel measures calls, and so wants to know which method they are of.
    measured: bool,
}

/// The codec of tonic's own clients, with room for a greeting in place of 8 KiB for each message.
struct SmallMessages;

// === impl GrpcUpstream ===

impl GrpcUpstream {
    /// Over a channel to `target`, which measures calls when `measured` says so.
    pub(crate) fn new(target: &Target, channel: Channel, measured: bool) -> Self {
        let client = Grpc::new(channel.clone()).max_decoding_message_size(MAX_ANSWER);
        Self {
            backend: Backend { protocol: "gRPC", target: target.as_str().to_owned() },
            channel,
            client,
            measured,
        }
    }

    /// Asks the backend to greet `name`.
    ///
    /// # Errors
    ///
    /// The status of [`http_status`].
    pub(crate) fn greet(
        &self,
        name: String,
        headers: HeaderMap,
        allowed: Duration,
    ) -> impl Future<Output = Result<Introduction, Failure>> {
        let metadata = MetadataMap::from_headers(headers);
        let mut extensions = Extensions::default();
        if self.measured {
            extensions.insert(GrpcMethod::new(SERVICE, METHOD));
        }
        let mut request = Request::from_parts(metadata, extensions, Greeting { name });
        // The channel holds the call to this too, so no timer is needed here.
        request.set_timeout(allowed);
        let mut client = self.client.clone();
        async move {
            // A channel is always ready: a call waits for a subchannel by itself.
            let method = PathAndQuery::from_static(SAY_HELLO);
            let answer = client.unary(request, method, SmallMessages).await;
            answer.map(tonic::Response::into_inner).map_err(|status| self.failure(&status, allowed))
        }
    }

    fn failure(&self, status: &Status, allowed: Duration) -> Failure {
        let (code, words) = (status.code(), status.message());
        let told = |sentence: fmt::Arguments<'_>| self.backend.failure(http_status(code), sentence);
        match code {
            Code::Unavailable => {
                // The channel names the target too.
                let why = words.strip_prefix(&self.backend.target).and_then(|words| words.strip_prefix(": "));
                told(format_args!("is unavailable: {}", why.unwrap_or(words)))
            }
            Code::DeadlineExceeded => told(format_args!("did not answer within {allowed:?}: {words}")),
            code => told(format_args!("answered with gRPC status {code:?} ({}): {words}", i32::from(code))),
        }
    }
}

// === impl SmallMessages ===

impl Codec for SmallMessages {
    type Encode = Greeting;
    type Decode = Introduction;
    type Encoder = <ProstCodec<Greeting, Introduction> as Codec>::Encoder;
    type Decoder = <ProstCodec<Greeting, Introduction> as Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<Greeting, Introduction>::raw_encoder(buffers())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<Greeting, Introduction>::raw_decoder(buffers())
    }
}

fn buffers() -> BufferSettings {
    // There is one message, so nothing to gather before it is sent.
    BufferSettings::new(USUAL_MESSAGE, USUAL_MESSAGE)
}

/// What a caller over HTTP is told for each gRPC status. Only what speaks about this very request is passed on
/// as the caller's affair; everything else is a fault behind the gateway.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::BAD_GATEWAY,
    }
}
