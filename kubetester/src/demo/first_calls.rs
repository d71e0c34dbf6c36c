//! The first calls of the demo: twelve calls to each path of the gateway, and checks of their spread.

use std::{num::NonZeroUsize, time::Duration};

use tokio_util::sync::CancellationToken;

use super::system::System;
use crate::{
    balance::Balance,
    engine::{self, Plan, Progress},
    tally::Tally,
    target::{Endpoint, Target},
    transport::{Setup, Transport, Unreachable},
};

/// The number of calls to each path.
pub const CALLS: u64 = 12;

/// The number of bursts of calls to `/hellohttp`. Each burst has as many callers as calls.
pub const BURSTS: u64 = 3;

/// The timeout of a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum time until the gateway has closed its idle connections. It checks every half second for connections that
/// have been idle for half a second.
const IDLE_WITHIN: Duration = Duration::from_secs(5);

/// Calls `/hellogrpc`, one call after the other.
///
/// # Errors
///
/// Fails if the gateway cannot be reached.
pub async fn grpc(system: &System) -> Result<Tally, Unreachable> {
    let mut tally = Tally::default();
    burst(&mut tally, system, "/hellogrpc", NonZeroUsize::MIN, CALLS).await?;
    Ok(tally)
}

/// Calls `/hellohttp` in bursts. A ClusterIP balances connections, and the gateway keeps a connection while it is used.
/// Each burst therefore waits until the connections of the previous burst are closed.
///
/// # Errors
///
/// Fails if the gateway cannot be reached.
pub async fn http(system: &System) -> Result<Tally, Unreachable> {
    let mut tally = Tally::default();
    let calls = CALLS / BURSTS;
    let callers = usize::try_from(calls).ok().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN);
    for number in 0..BURSTS {
        if number > 0 && !system.cluster_ip.idle(IDLE_WITHIN).await {
            tracing::warn!(
                "the gateway keeps connections to {} for over {IDLE_WITHIN:?}",
                system.http_target
            );
        }
        burst(&mut tally, system, "/hellohttp", callers, calls).await?;
    }
    Ok(tally)
}

async fn burst(
    tally: &mut Tally,
    system: &System,
    path: &str,
    callers: NonZeroUsize,
    calls: u64,
) -> Result<(), Unreachable> {
    let target = Target::Http(Endpoint {
        host: system.reachable_gateway().ip().to_string(),
        port: system.gateway.port(),
        path: path.to_owned(),
        tls: false,
    });
    let transport = Transport::open(&target, Setup::default(), Some(CALL_TIMEOUT)).await?;
    let plan = Plan { calls: Some(calls), duration: None, rate: None, timeout: CALL_TIMEOUT };
    let never = CancellationToken::new();
    let (run, _) = engine::run(&plan, transport.callers(callers), &never, &Progress::default()).await;
    tally.merge(run.tally);
    Ok(())
}

/// Returns a sentence for each requirement that the calls do not meet.
pub fn unmet(system: &System, grpc: &Tally, http: &Tally) -> Vec<String> {
    let mut unmet = Vec::new();
    for (path, tally) in [("/hellogrpc", grpc), ("/hellohttp", http)] {
        for (cause, count) in &tally.errors {
            unmet.push(format!("{count} of {CALLS} calls to {path} failed: {cause}"));
        }
    }
    let turns = Balance::of(grpc);
    let expected = system.grpc.len().min(usize::try_from(CALLS).unwrap_or(usize::MAX));
    if turns.pods != expected {
        unmet.push(format!("{} hellogrpc pods answered, {expected} should have", turns.pods));
    } else if turns.difference > u64::from(!CALLS.is_multiple_of(turns.pods as u64)) {
        unmet.push("the hellogrpc pods were not called in turn".to_owned());
    }
    if system.http.len() > 1 && http.pods.len() < 2 {
        unmet.push("only one hellohttp pod answered, more than one should have".to_owned());
    }
    unmet
}
