//! Not of gRPC's list: keepalive against a server that counts pings as gRPC's runtimes do by default.

use std::time::Duration;

use balanced_channel::{Channel, Keepalive};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    Client, Result, expect,
    proto::{ResponseParameters, StreamingOutputCallRequest},
};

/// Long enough for a client that pings every two seconds to be told off.
const QUIET: Duration = Duration::from_secs(12);

/// With the defaults, streams that are quiet for long go on, however the calls around them fall.
pub(crate) async fn quiet_streams(channel: Channel) -> Result {
    let mut streams = JoinSet::new();
    for _ in 0..4 {
        streams.spawn(quiet_stream(channel.clone(), QUIET));
        sleep(Duration::from_millis(2500)).await;
    }
    while let Some(stream) = streams.join_next().await {
        stream??;
    }
    expect("the number of complaints", channel.snapshot().too_many_pings, 0)
}

/// A client that pings too often is told so, and after that leaves the server in peace.
pub(crate) async fn too_many_pings(channel: Channel) -> Result {
    let often = Keepalive::new(Duration::from_secs(1));
    let channel = Channel::builder(channel.snapshot().target.as_str()).keepalive(often).build()?;
    let told_off = quiet_stream(channel.clone(), QUIET).await;
    expect("whether the stream broke off", told_off.is_err(), true)?;
    // The call may hear of it before the channel has.
    sleep(Duration::from_secs(1)).await;
    expect("the number of complaints", channel.snapshot().too_many_pings, 1)?;
    expect("the time after it", channel.snapshot().keepalive_time, Some(2.0))
}

/// One message at once and one in the end.
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
