//! The flags that `load` and `compare` share: calls, rate, callers, output and expectations.

use std::{num::NonZeroUsize, time::Duration};

use clap::Args;
use http::{HeaderName, HeaderValue, Method};
use tokio_util::sync::CancellationToken;

use super::{COULD_NOT_RUN, CliError, nonzero_duration, output::Output, report::Report};
use crate::{
    conditions::Conditions,
    engine::{self, Plan, Progress},
    expect::Expectations,
    method::MethodOptions,
    number,
    pod_name::PodFrom,
    report::About,
    result::LoadResult,
    target::Target,
    transport::{self, Caller, GrpcOptions, HttpOptions, Setup, Tls, Transport},
};

/// The time that a load without `-n` and `--duration` lasts.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);

/// The flags of a load.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Make this many calls to a target, such as 500, 10k or 1.5M
    #[arg(short = 'n', long, value_name = "N", value_parser = number::calls)]
    pub(super) calls: Option<u64>,

    /// Call a target for this time [default: 10s, unless -n is given]
    #[arg(short = 'z', long, value_name = "TIME", value_parser = nonzero_duration)]
    pub(super) duration: Option<Duration>,

    /// Number of concurrent callers; each makes one call after the other
    #[arg(short = 'c', long, value_name = "N", default_value = "16", value_parser = number::callers)]
    pub(super) callers: NonZeroUsize,

    /// Connections that the callers of a grpc:// target share [default: 1]. Over HTTP/1.1 each caller has its own
    #[arg(long, value_name = "N", value_parser = number::connections)]
    pub(super) connections: Option<NonZeroUsize>,

    /// Make this many calls a second, evenly spaced, whether or not earlier calls were answered. Latency is then
    /// measured from the time when a call was due, so that a stall is not hidden. -c limits the calls in flight
    #[arg(short = 'q', long, value_name = "CALLS/S", value_parser = number::rate)]
    pub(super) rate: Option<f64>,

    /// Warm up: call for this time before calls are counted
    #[arg(long, value_name = "TIME", value_parser = nonzero_duration)]
    pub(super) warmup: Option<Duration>,

    /// Timeout of a call, and of connecting at the start
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = nonzero_duration)]
    pub(super) timeout: Duration,

    /// Send this header, or gRPC metadata, with each call; may be repeated
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = transport::header)]
    pub(super) header: Vec<(HeaderName, HeaderValue)>,

    /// The method of each HTTP request [default: GET, or POST with --data]
    #[arg(short = 'X', long, value_name = "METHOD")]
    pub(super) request: Option<Method>,

    /// Place where an answer names its pod: /a/json/pointer, header:NAME (or trailer), regex:EXPRESSION, peer (the
    /// address of the server), or known (the answers of this system, podinfo, fake-service and whoami)
    #[arg(long, value_name = "PLACE", default_value = "known")]
    pub(super) pod_from: PodFrom,

    #[command(flatten)]
    pub(super) output: Output,

    #[command(flatten)]
    pub(super) report: Report,

    #[command(flatten)]
    pub(super) method: MethodOptions,

    #[command(flatten)]
    pub(super) grpc: GrpcOptions,

    #[command(flatten)]
    pub(super) http: HttpOptions,

    #[command(flatten)]
    pub(super) tls: Tls,

    #[command(flatten)]
    pub(super) expectations: Expectations,
}

/// A target that is connected and warmed up.
pub(super) struct Opened {
    pub(super) transport: Transport,
    pub(super) callers: Vec<Caller>,
}

// === impl Options ===

impl Options {
    /// Checks the flags of the output and that the report can be written, before the load starts.
    pub(super) fn about(&self) -> Result<About, CliError> {
        self.output.check()?;
        self.report.about()
    }

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

    /// Connects to a target and warms it up.
    pub(super) async fn open(&self, target: &Target, stop: &CancellationToken) -> Result<Opened, CliError> {
        let transport = Transport::open(target, self.setup(), Some(self.timeout)).await?;
        let mut callers = transport.callers(self.callers);
        if let Some(warmup) = self.warmup {
            let plan = Plan { calls: None, duration: Some(warmup), ..self.plan() };
            callers = engine::run(&plan, callers, stop, &Progress::default()).await.1;
        }
        Ok(Opened { transport, callers })
    }

    /// Returns the conditions of a load that has ended.
    pub(super) fn conditions(&self, target: &Target, transport: &Transport) -> Conditions {
        Conditions {
            connections: self.connections.map_or(1, NonZeroUsize::get),
            pod_is_peer: matches!(self.pod_from, PodFrom::Peer),
            endpoints: transport.endpoints(),
            absent_header: match &self.pod_from {
                PodFrom::Header(name) => Some((name.to_string(), transport.seen_headers())),
                _ => None,
            },
            ..Conditions::new(target.clone(), self.callers.get())
        }
    }

    /// Returns the settings that all calls share.
    pub(super) fn setup(&self) -> Setup {
        Setup {
            headers: self.header.iter().cloned().collect(),
            pod_from: self.pod_from.clone(),
            connections: self.connections,
            method: self.method.clone(),
            request: self.request.clone(),
            http: self.http,
            grpc: self.grpc,
            tls: self.tls.clone(),
        }
    }

    /// Returns an error with the first cause if no call of a load succeeded, unless errors are expected.
    pub(super) fn check_any_success(&self, result: &LoadResult) -> Result<(), CliError> {
        if result.succeeded > 0 || self.expectations.max_errors.is_some() {
            return Ok(());
        }
        let target = &result.target;
        let why = result.errors.first().map_or("none was made", |error| error.cause.as_str());
        let hint = match self.method.method {
            None if why.starts_with("gRPC UNIMPLEMENTED") => {
                format!("; name a method of it with --method, see `kubetester list {target}`")
            }
            _ => String::new(),
        };
        Err(CliError::new(COULD_NOT_RUN, format!("no call to {target} succeeded: {why}{hint}")))
    }
}
