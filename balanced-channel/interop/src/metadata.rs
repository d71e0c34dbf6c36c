//! Headers and trailers, as text and as bytes.

use balanced_channel::Channel;
use tonic::{
    Request,
    metadata::{MetadataMap, MetadataValue},
};

use crate::{
    Client, Result, expect, expect_zeros, proto::StreamingOutputCallRequest, streaming::sized,
    unary::large_request, zeros,
};

const INITIAL: &str = "x-grpc-test-echo-initial";
const INITIAL_VALUE: &str = "test_initial_metadata_value";
const TRAILING: &str = "x-grpc-test-echo-trailing-bin";
const TRAILING_VALUE: [u8; 3] = [0xab; 3];

pub(crate) async fn custom_metadata(channel: Channel) -> Result {
    let mut client = Client::new(channel);
    // tonic hands out headers and trailers of a unary response together.
    let response = client.unary_call(with_metadata(large_request())).await?;
    expect_initial(response.metadata())?;
    expect_trailing(response.metadata())?;
    expect_zeros(response.get_ref().payload.as_ref(), 314_159)?;

    let request = StreamingOutputCallRequest {
        response_parameters: vec![sized(314_159)],
        payload: zeros(271_828),
        ..Default::default()
    };
    let response = client.full_duplex_call(with_metadata(tokio_stream::iter([request]))).await?;
    expect_initial(response.metadata())?;
    let mut responses = response.into_inner();
    let message = responses.message().await?.ok_or("a response is missing")?;
    expect_zeros(message.payload.as_ref(), 314_159)?;
    expect("whether more comes", responses.message().await?.is_some(), false)?;
    expect_trailing(&responses.trailers().await?.ok_or("there are no trailers")?)
}

fn with_metadata<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(INITIAL, MetadataValue::from_static(INITIAL_VALUE));
    request.metadata_mut().insert_bin(TRAILING, MetadataValue::from_bytes(&TRAILING_VALUE));
    request
}

fn expect_initial(metadata: &MetadataMap) -> Result {
    let value = metadata.get(INITIAL).and_then(|value| value.to_str().ok());
    expect(INITIAL, value, Some(INITIAL_VALUE))
}

fn expect_trailing(metadata: &MetadataMap) -> Result {
    let value = metadata.get_bin(TRAILING).and_then(|value| value.to_bytes().ok());
    expect(TRAILING, value.as_deref(), Some(&TRAILING_VALUE[..]))
}
