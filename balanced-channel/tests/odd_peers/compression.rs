//! Servers that compress their responses, even with encodings that the client does not accept.

use balanced_channel::{COMPRESSION_ENCODINGS, Channel, Connectivity};
use proto::hello::{Greeting, hello_client::HelloClient};
use tonic::{Code, Status};

use super::{
    backend::until,
    scripted_server::{ScriptedResponse, ScriptedServer},
};

/// An `Introduction` whose hostname is a thousand times "x", as a frame of each encoding.
const HOSTNAMES: [(&str, &[u8]); 3] = [
    (
        "gzip",
        b"\x01\0\0\0\x1f\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x93\x7a\xc1\x5e\x31\x0a\x46\xc1\x28\x18\xf6\x00\x00\
          \x98\x5c\xd6\x11\xeb\x03\x00\x00",
    ),
    (
        "deflate",
        b"\x01\0\0\0\x13\x78\xda\x93\x7a\xc1\x5e\x31\x0a\x46\xc1\x28\x18\xf6\x00\x00\xb8\x80\xd5\xd9",
    ),
    ("zstd", b"\x01\0\0\0\x11\x28\xb5\x2f\xfd\x60\xeb\x02\x18\x00\x00\x1a\xe8\x07\x43\x1f\x00\x78"),
];

/// A `HealthCheckResponse` with NOT_SERVING, as a gzip frame.
const NOT_SERVING: &[u8] =
    b"\x01\0\0\0\x16\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xe3\x60\x02\x00\xdb\xf9\x0e\x67\x02\x00\x00\x00";

async fn hostname(server: &ScriptedServer, max_message_size: usize) -> Result<String, Status> {
    let channel = Channel::new(format!("ipv4:{}", server.address)).unwrap();
    let client = HelloClient::new(channel).max_decoding_message_size(max_message_size);
    let mut client =
        COMPRESSION_ENCODINGS.iter().fold(client, |client, encoding| client.accept_compressed(*encoding));
    let response = client.say_hello(Greeting::default()).await?;
    Ok(response.into_inner().hostname)
}

#[tokio::test]
async fn compressed_response_is_decoded_up_to_the_limit_on_messages() {
    for (encoding, frame) in HOSTNAMES {
        let server = ScriptedServer::always(ScriptedResponse::Encoded(encoding, frame)).await;
        assert_eq!(hostname(&server, 2000).await.unwrap(), "x".repeat(1000), "{encoding}");
        let accepted = &server.requests()[0].headers["grpc-accept-encoding"];
        assert_eq!(accepted, "gzip,deflate,zstd,identity");
        let status = hostname(&server, 500).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{encoding}: {status}");
        assert!(status.message().contains("500 bytes"), "{encoding}: {status}");
    }
}

#[tokio::test]
async fn compressed_health_is_read_and_an_unknown_encoding_is_an_error() {
    for (encoding, expected) in [("gzip", "NOT_SERVING"), ("br", "compressed with br")] {
        let server = ScriptedServer::always(ScriptedResponse::EncodedStream(encoding, NOT_SERVING)).await;
        let builder = Channel::builder(format!("ipv4:{}", server.address)).health_check("");
        let channel = builder.build().unwrap();
        until(expected, || {
            let subchannel = channel.snapshot().subchannels.pop()?;
            let expected = subchannel.last_error.is_some_and(|error| error.contains(expected));
            (subchannel.state != Connectivity::Ready && expected).then_some(())
        })
        .await;
    }
}
