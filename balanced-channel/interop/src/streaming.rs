//! Calls with streams of messages in one or both directions.

use balanced_channel::Channel;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::UnboundedReceiverStream};

use crate::{
    Client, Result, expect, expect_zeros,
    proto::{ResponseParameters, StreamingInputCallRequest, StreamingOutputCallRequest},
    zeros,
};

const REQUESTS: [usize; 4] = [27_182, 8, 1_828, 45_904];
const RESPONSES: [usize; 4] = [31_415, 9, 2_653, 58_979];

pub(crate) async fn client_streaming(channel: Channel) -> Result {
    let requests = REQUESTS.map(|size| StreamingInputCallRequest { payload: zeros(size) });
    let response = Client::new(channel).streaming_input_call(tokio_stream::iter(requests)).await?;
    expect("the aggregated size", response.into_inner().aggregated_payload_size, 74_922)
}

pub(crate) async fn server_streaming(channel: Channel) -> Result {
    let request = StreamingOutputCallRequest {
        response_parameters: RESPONSES.map(sized).to_vec(),
        ..Default::default()
    };
    let mut responses = Client::new(channel).streaming_output_call(request).await?.into_inner();
    for size in RESPONSES {
        let response = responses.message().await?.ok_or("a response is missing")?;
        expect_zeros(response.payload.as_ref(), size)?;
    }
    expect("whether more comes", responses.message().await?.is_some(), false)
}

pub(crate) async fn ping_pong(channel: Channel) -> Result {
    let (send, requests) = mpsc::unbounded_channel();
    let requests = UnboundedReceiverStream::new(requests);
    let mut client = Client::new(channel);
    // The server may wait for the first request before it begins its response.
    send.send(ping(RESPONSES[0], REQUESTS[0]))?;
    let mut responses = client.full_duplex_call(requests).await?.into_inner();
    for number in 0..RESPONSES.len() {
        if number > 0 {
            send.send(ping(RESPONSES[number], REQUESTS[number]))?;
        }
        let response = responses.message().await?.ok_or("a response is missing")?;
        expect_zeros(response.payload.as_ref(), RESPONSES[number])?;
    }
    drop(send);
    expect("whether more comes", responses.message().await?.is_some(), false)
}

pub(crate) async fn empty_stream(channel: Channel) -> Result {
    let responses = Client::new(channel).full_duplex_call(tokio_stream::empty()).await?.into_inner();
    let responses: Vec<_> = responses.collect().await;
    expect("the number of responses", responses.len(), 0)
}

fn ping(response: usize, request: usize) -> StreamingOutputCallRequest {
    StreamingOutputCallRequest {
        response_parameters: vec![sized(response)],
        payload: zeros(request),
        ..Default::default()
    }
}

pub(crate) fn sized(size: usize) -> ResponseParameters {
    let size = i32::try_from(size).expect("the cases' sizes are small");
    ResponseParameters { size, interval_us: 0 }
}
