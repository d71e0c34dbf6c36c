//! Unary calls.

use balanced_channel::Channel;

use crate::{
    Client, Result, expect_zeros,
    proto::{Empty, SimpleRequest},
    zeros,
};

pub(crate) async fn empty_unary(channel: Channel) -> Result {
    Client::new(channel).empty_call(Empty {}).await?;
    Ok(())
}

pub(crate) async fn large_unary(channel: Channel) -> Result {
    let response = Client::new(channel).unary_call(large_request()).await?.into_inner();
    expect_zeros(response.payload.as_ref(), 314_159)
}

pub(crate) fn large_request() -> SimpleRequest {
    SimpleRequest { response_size: 314_159, payload: zeros(271_828), ..Default::default() }
}
