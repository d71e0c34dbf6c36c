//! The flags that `load` and `compare` share: how many calls, how fast, by how many callers, and what is expected.

use std::{num::NonZeroUsize, time::Duration};

use clap::Args;
use http::{HeaderName, HeaderValue};
use tokio_util::sync::CancellationToken;

use super::{COULD_NOT_RUN, Stop, report::Report, some_time};
use crate::{
    engine::{self, Plan, Progress},
    expect::Expectations,
    method::Choice,
    pod_name::PodFrom,
    result::LoadResult,
    target::Target,
    transport::{self, Caller, Setup, Tls, Transport},
};

/// The time that a load without `-n` and `--duration` lasts.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);

/// The flags of a load.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Make this many calls to a target
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) calls: Option<u64>,

    /// Call a target for this time [default: 10s, unless -n is given]
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    pub(super) duration: Option<Duration>,

    /// Callers at work at once: each makes one call after the other
    #[arg(short = 'c', long, value_name = "N", default_value = "16")]
    pub(super) callers: NonZeroUsize,

    /// Connections that the callers of a grpc:// target share [default: 1]. Over HTTP/1.1 each caller has its own
    #[arg(long, value_name = "N")]
    pub(super) connections: Option<NonZeroUsize>,

    /// Make this many calls a second, at even distances, whether or not earlier ones were answered. Latency then
    /// counts from when a call was due, so that a stall is not hidden. -c limits the calls in flight
    #[arg(long, value_name = "CALLS/S", value_parser = rate)]
    pub(super) rate: Option<f64>,

    /// Call for this time before anything is counted
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    pub(super) warmup: Option<Duration>,

    /// A call without an answer after this time has failed. Connecting at the start may take as long
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = some_time)]
    pub(super) timeout: Duration,

    /// Send this header, or gRPC metadata, with each call; may be repeated
    #[arg(long, value_name = "NAME: VALUE", value_parser = transport::header)]
    pub(super) header: Vec<(HeaderName, HeaderValue)>,

    /// Where an answer names its pod: /a/json/pointer, header:NAME (or trailer), regex:EXPRESSION, peer (the
    /// address at the other end), or known: this system's answers, and podinfo's, fake-service's and whoami's
    #[arg(long, value_name = "PLACE", default_value = "known")]
    pub(super) pod_from: PodFrom,

    /// Print the result as one JSON document
    #[arg(long)]
    pub(super) json: bool,

    /// With --json: what a report's plots are drawn from, too: the calls over time, and a histogram of the latencies
    #[arg(long, requires = "json")]
    pub(super) details: bool,

    #[command(flatten)]
    pub(super) report: Report,

    #[command(flatten)]
    pub(super) method: Choice,

    #[command(flatten)]
    pub(super) tls: Tls,

    #[command(flatten)]
    pub(super) expectations: Expectations,
}

// === impl Options ===

impl Options {
    /// Returns the plan of the load.
    pub(super) fn plan(&self) -> Plan {
        let unlimited = self.calls.is_none() && self.duration.is_none();
        Plan {
            calls: self.calls,
            duration: if unlimited { Some(DEFAULT_DURATION) } else { self.duration },
            rate: self.rate,
            timeout: self.timeout,
        }
    }

    /// Makes a target ready and calls it for as long as it is to warm up.
    pub(super) async fn callers(
        &self,
        target: &Target,
        stop: &CancellationToken,
    ) -> Result<Vec<Caller>, Stop> {
        let callers = Transport::open(target, self.setup(), Some(self.timeout)).await?.callers(self.callers);
        let Some(warmup) = self.warmup else { return Ok(callers) };
        let plan = Plan { calls: None, duration: Some(warmup), ..self.plan() };
        Ok(engine::run(&plan, callers, stop, &Progress::default()).await.1)
    }

    /// Returns the settings that all calls share.
    pub(super) fn setup(&self) -> Setup {
        Setup {
            headers: self.header.iter().cloned().collect(),
            pod_from: self.pod_from.clone(),
            connections: self.connections,
            method: self.method.clone(),
            tls: self.tls.clone(),
        }
    }

    /// Returns whether a load of which no call succeeded has failed to run, and why.
    pub(super) fn ran(&self, result: &LoadResult) -> Result<(), Stop> {
        if result.succeeded > 0 || self.expectations.max_errors.is_some() {
            return Ok(());
        }
        let why = result.errors.first().map_or("none was made", |error| error.cause.as_str());
        Err(Stop::new(COULD_NOT_RUN, format!("no call to {} succeeded: {why}", result.target)))
    }
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=10_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("not a rate; give calls a second, from 0.001 to 10000000".to_owned()),
    }
}
