//! Keepalive against a server that limits PINGs as gRPC servers do by default. These cases are not in gRPC's list.

use std::time::Duration;

use balanced_channel::{Channel, Keepalive};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    Client, Result, expect,
    proto::{ResponseParameters, StreamingOutputCallRequest},
};

/// The quiet time of a stream: long enough for a server to reject a PING every two seconds as too many.
const QUIET: Duration = Duration::from_secs(12);

/// With default settings, streams survive long quiet times, at any timing of other calls.
pub(crate) async fn quiet_streams(channel: Channel) -> Result {
    let mut streams = JoinSet::new();
    for _ in 0..4 {
        streams.spawn(quiet_stream(channel.clone(), QUIET));
        sleep(Duration::from_millis(2500)).await;
    }
    while let Some(stream) = streams.join_next().await {
        stream??;
    }
    expect("the number of too_many_pings", channel.snapshot().too_many_pings, 0)
}

/// A client that sends PINGs too often gets `too_many_pings`, and then sends fewer.
pub(crate) async fn too_many_pings(channel: Channel) -> Result {
    let often = Keepalive::new(Duration::from_secs(1));
    let channel = Channel::builder(channel.snapshot().target.as_str()).keepalive(often).build()?;
    let stream = quiet_stream(channel.clone(), QUIET).await;
    expect("whether the stream broke off", stream.is_err(), true)?;
    // The call may fail before the channel has processed the GOAWAY.
    sleep(Duration::from_secs(1)).await;
    expect("the number of too_many_pings", channel.snapshot().too_many_pings, 1)?;
    expect("the time after it", channel.snapshot().keepalive_time, Some(2.0))
}

/// Reads a stream with one message at once and one after the quiet time.
async fn quiet_stream(channel: Channel, quiet: Duration) -> Result {
    let after = |interval: Duration| ResponseParameters {
        size: 1,
        interval_us: i32::try_from(interval.as_micros()).unwrap_or(i32::MAX),
    };
    let request = StreamingOutputCallRequest {
        response_parameters: vec![after(Duration::ZERO), after(quiet)],
        ..Default::default()
    };
    let mut responses = Client::new(channel).streaming_output_call(request).await?.into_inner();
    for _ in 0..2 {
        responses.message().await?.ok_or("a response is missing")?;
    }
    Ok(())
}
