//! `kubetester load`: sends load to a target and says where it landed.

use std::{io::Write as _, num::NonZeroUsize, process::ExitCode, time::Duration};

use clap::Args;
use http::{HeaderName, HeaderValue};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use super::{COULD_NOT_RUN, FAILED, OK, Stop, some_time, stop_on_interrupt};
use crate::{
    answered::PodFrom,
    engine::{self, Plan, Progress, Run},
    expect::Expectations,
    render,
    result::LoadResult,
    target::Target,
    transport::{self, Caller, Setup, Tls, Transport},
};

/// How long a load without `-n` and `--duration` lasts.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);
/// How often the progress is redrawn.
const REDRAW: Duration = Duration::from_millis(100);

/// Send load to a target and say which pods took it
///
/// Exits 0 when all went as expected, 1 when an expectation did not hold, 2 on bad usage, and 3 when the load could
/// not run at all, or no call of it succeeded and --max-errors does not allow that.
#[derive(Debug, Args)]
pub(super) struct Load {
    /// What to call: http://host:port/path, grpc://host:port (one plain connection), either with an s for TLS, or a
    /// target of the balanced channel: dns:///host:port, dns://server:port/host:port, ipv4:a:p,b:p, ipv6:[a]:p, host:port
    target: Target,

    /// Stop after this many calls
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    calls: Option<u64>,

    /// Stop after this time [default: 10s, unless -n is given]
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    duration: Option<Duration>,

    /// Callers at work at once: each makes one call after the other
    #[arg(short = 'c', long, value_name = "N", default_value = "16")]
    callers: NonZeroUsize,

    /// Connections that the callers of a grpc:// target share [default: 1]. Over HTTP/1.1 each caller has its own
    #[arg(long, value_name = "N")]
    connections: Option<NonZeroUsize>,

    /// Make this many calls a second, at even distances, whether or not earlier ones were answered. Latency then
    /// counts from when a call was due, so that a stall is not hidden. -c limits the calls in flight
    #[arg(long, value_name = "CALLS/S", value_parser = rate)]
    rate: Option<f64>,

    /// Call for this time before anything is counted
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    warmup: Option<Duration>,

    /// A call without an answer after this time has failed. Connecting at the start may take as long
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = some_time)]
    timeout: Duration,

    /// Send this header, or gRPC metadata, with each call; may be repeated
    #[arg(long, value_name = "NAME: VALUE", value_parser = transport::header)]
    header: Vec<(HeaderName, HeaderValue)>,

    /// Where an answer names its pod: /a/json/pointer, header:NAME (or trailer), regex:EXPRESSION, peer (the
    /// address at the other end), or known: this system's answers, and podinfo's, fake-service's and whoami's
    #[arg(long, value_name = "PLACE", default_value = "known")]
    pod_from: PodFrom,

    /// Print the result as one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    tls: Tls,

    #[command(flatten)]
    expectations: Expectations,
}

// === impl Load ===

impl Load {
    pub(super) async fn run(self) -> Result<ExitCode, Stop> {
        let stop = stop_on_interrupt();
        let callers = self.open().await?.callers(self.callers);
        let callers = match self.warmup {
            Some(warmup) => {
                let plan = Plan { calls: None, duration: Some(warmup), ..self.plan() };
                engine::run(&plan, callers, &stop, &Progress::default()).await.1
            }
            None => callers,
        };
        let plan = self.plan();
        let run = self.watched(&plan, callers, &stop).await;
        let result = LoadResult::new(&self.target, self.callers.get(), &plan, &run, &self.expectations);
        self.print(&result)?;
        if result.succeeded == 0 && self.expectations.max_errors.is_none() {
            let why = result.errors.first().map_or("none was made", |error| error.cause.as_str());
            return Err(Stop::new(COULD_NOT_RUN, format!("no call to {} succeeded: {why}", self.target)));
        }
        Ok(ExitCode::from(if result.held() { OK } else { FAILED }))
    }

    fn plan(&self) -> Plan {
        let unlimited = self.calls.is_none() && self.duration.is_none();
        Plan {
            calls: self.calls,
            duration: if unlimited { Some(DEFAULT_DURATION) } else { self.duration },
            rate: self.rate,
            timeout: self.timeout,
        }
    }

    async fn open(&self) -> Result<Transport, Stop> {
        let setup = Setup {
            headers: self.header.iter().cloned().collect(),
            pod_from: self.pod_from.clone(),
            connections: self.connections,
            tls: self.tls.clone(),
        };
        Ok(Transport::open(&self.target, setup, Some(self.timeout)).await?)
    }

    /// Runs the plan, with a line of progress where a person can see it.
    async fn watched(&self, plan: &Plan, callers: Vec<Caller>, stop: &CancellationToken) -> Run {
        let progress = Progress::default();
        let line = indicatif::ProgressBar::new_spinner();
        let draw = async {
            let mut redraw = interval(REDRAW);
            loop {
                let begun = redraw.tick().await;
                let before = progress.calls();
                redraw.tick().await;
                let calls = progress.calls();
                let rate = (calls - before) as f64 / begun.elapsed().as_secs_f64();
                line.set_message(format!(
                    "{} calls, {} a second, {} failed, {} pods",
                    render::count(calls),
                    render::count(rate as u64),
                    render::count(progress.failed()),
                    progress.pods(),
                ));
                line.tick();
            }
        };
        let run = tokio::select! {
            (run, _) = engine::run(plan, callers, stop, &progress) => run,
            () = draw => unreachable!("the progress is drawn without end"),
        };
        line.finish_and_clear();
        run
    }

    fn print(&self, result: &LoadResult) -> Result<(), Stop> {
        let page = if self.json {
            let json = serde_json::to_string_pretty(result);
            json.map_err(|error| {
                Stop::new(COULD_NOT_RUN, format!("cannot write the result as JSON: {error}"))
            })? + "\n"
        } else {
            render::load(result)
        };
        // A pipe that was closed (`| head`) has seen all it wants.
        drop(anstream::stdout().write_all(page.as_bytes()));
        Ok(())
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=10_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("not a rate; give calls a second, from 0.001 to 10000000".to_owned()),
    }
}
