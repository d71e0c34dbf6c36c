//! Calls that are cancelled, or that reach their deadline.

use std::time::Duration;

use balanced_channel::Channel;
use tokio::{sync::mpsc, time::sleep};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Request};

use crate::{
    Client, Result, expect, expect_code,
    proto::{Empty, StreamingOutputCallRequest},
    zeros,
};

const BEGUN: &str = "x-begun-calls";
const CANCELLED: &str = "x-cancelled-calls";

/// In Rust, dropping a call cancels it, so the client cannot read its status. The server reports whether the call was
/// cancelled.
pub(crate) async fn cancel_after_begin(channel: Channel) -> Result {
    let mut client = Client::new(channel.clone());
    let (begun, cancelled) = (count(&mut client, BEGUN).await?, count(&mut client, CANCELLED).await?);
    let (send, requests) = mpsc::unbounded_channel();
    let mut caller = client.clone();
    let call =
        tokio::spawn(
            async move { caller.streaming_input_call(UnboundedReceiverStream::new(requests)).await },
        );
    while count(&mut client, BEGUN).await? == begun {
        sleep(Duration::from_millis(1)).await;
    }
    call.abort();
    expect("whether the call was cancelled", call.await.is_err_and(|error| error.is_cancelled()), true)?;
    send.closed().await;
    while count(&mut client, CANCELLED).await? == cancelled {
        sleep(Duration::from_millis(1)).await;
    }
    expect("the calls in flight", channel.snapshot().subchannels[0].in_flight, 0)
}

pub(crate) async fn timeout_on_sleeping_server(channel: Channel) -> Result {
    let (send, requests) = mpsc::unbounded_channel();
    send.send(StreamingOutputCallRequest { payload: zeros(27_182), ..Default::default() })?;
    let mut request = Request::new(UnboundedReceiverStream::new(requests));
    request.set_timeout(Duration::from_millis(1));
    let answer = match Client::new(channel).full_duplex_call(request).await {
        Ok(response) => response.into_inner().message().await,
        Err(status) => Err(status),
    };
    expect_code(answer, Code::DeadlineExceeded).map(drop)
}

/// Returns a number of calls as counted by the server.
async fn count(client: &mut Client, what: &str) -> Result<u64> {
    let response = client.empty_call(Empty {}).await?;
    let count = response.metadata().get(what).ok_or("the server does not count its calls")?;
    Ok(count.to_str()?.parse()?)
}
