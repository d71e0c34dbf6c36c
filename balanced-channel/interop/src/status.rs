//! The failures of a call, and the status of each.

use balanced_channel::Channel;
use tonic::{Code, Status};

use crate::{
    Client, Result, expect, expect_code,
    proto::{
        EchoStatus, Empty, SimpleRequest, StreamingOutputCallRequest,
        unimplemented_service_client::UnimplementedServiceClient,
    },
};

pub(crate) async fn status_code_and_message(channel: Channel) -> Result {
    let mut client = Client::new(channel);
    let status = echo(2, "test status message");
    let request = SimpleRequest { response_status: status.clone(), ..Default::default() };
    expect_echo(client.unary_call(request).await, "test status message")?;

    let request = StreamingOutputCallRequest { response_status: status, ..Default::default() };
    let answer = match client.full_duplex_call(tokio_stream::iter([request])).await {
        Ok(response) => response.into_inner().message().await,
        Err(status) => Err(status),
    };
    expect_echo(answer, "test status message")
}

pub(crate) async fn special_status_message(channel: Channel) -> Result {
    const MESSAGE: &str = "\t\ntest with whitespace\r\nand Unicode BMP \u{263a} and non-BMP \u{1f608}\t\n";
    let request = SimpleRequest { response_status: echo(2, MESSAGE), ..Default::default() };
    expect_echo(Client::new(channel).unary_call(request).await, MESSAGE)
}

pub(crate) async fn unimplemented_method(channel: Channel) -> Result {
    let answer = Client::new(channel).unimplemented_call(Empty {}).await;
    expect_code(answer, Code::Unimplemented).map(drop)
}

pub(crate) async fn unimplemented_service(channel: Channel) -> Result {
    let answer = UnimplementedServiceClient::new(channel).unimplemented_call(Empty {}).await;
    expect_code(answer, Code::Unimplemented).map(drop)
}

fn echo(code: i32, message: &str) -> Option<EchoStatus> {
    Some(EchoStatus { code, message: message.to_owned() })
}

fn expect_echo<T>(answer: std::result::Result<T, Status>, message: &str) -> Result {
    let status = expect_code(answer, Code::Unknown)?;
    expect("the message", status.message(), message)
}
