//! The encodings of responses (gRPC's compression document).

use http::Response;
use tonic::{Code, Status, codec::CompressionEncoding};

/// The encodings of responses that this build decodes: those of the features `gzip`, `deflate` and `zstd`.
///
/// A generated client decodes those that it announces with `accept_compressed`:
///
/// ```
/// # use balanced_channel::{COMPRESSION_ENCODINGS, Channel};
/// # use proto::hello::hello_client::HelloClient;
/// # fn client(channel: Channel) -> HelloClient<Channel> {
/// let client = HelloClient::new(channel);
/// COMPRESSION_ENCODINGS.iter().fold(client, |client, encoding| client.accept_compressed(*encoding))
/// # }
/// ```
///
/// `max_decoding_message_size` of the client (4 MiB by default) limits what is decoded: a message that decodes to more fails
/// with RESOURCE_EXHAUSTED.
pub const COMPRESSION_ENCODINGS: &[CompressionEncoding] = &[
    #[cfg(feature = "gzip")]
    CompressionEncoding::Gzip,
    #[cfg(feature = "deflate")]
    CompressionEncoding::Deflate,
    #[cfg(feature = "zstd")]
    CompressionEncoding::Zstd,
];

const GRPC_ENCODING: &str = "grpc-encoding";

/// Returns the status of a response whose messages are compressed with an encoding that is not in
/// [`COMPRESSION_ENCODINGS`]: INTERNAL, as the compression document says for clients. tonic's is UNIMPLEMENTED, which also
/// means that the server does not have the method.
pub fn unsupported_encoding_status<B>(response: &Response<B>) -> Option<Status> {
    let headers = response.headers();
    let encoding = headers.get(GRPC_ENCODING).filter(|_| !headers.contains_key(Status::GRPC_STATUS))?;
    let supported = || COMPRESSION_ENCODINGS.iter().map(ToString::to_string);
    if encoding == "identity" || supported().any(|name| encoding == name.as_str()) {
        return None;
    }
    let supported: Vec<_> = supported().chain(["identity".to_owned()]).collect();
    let encoding = String::from_utf8_lossy(encoding.as_bytes());
    let sentence = format!(
        "the response is compressed with {encoding}, which this client does not decode; it decodes {}",
        supported.join(", ")
    );
    Some(Status::new(Code::Internal, sentence))
}
