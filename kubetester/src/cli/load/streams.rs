//! `--streams`: holds streams instead of making calls.

use std::{num::NonZeroUsize, time::Duration};

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::super::{CliError, USAGE, nonzero_duration, options::Options};
use crate::{
    conditions::{Conditions, EndpointState},
    engine::{Plan, Run},
    method::WATCH,
    number, render,
    result::{LoadResult, Streams as Figures},
    streams::{self, HoldOutcome, HoldPlan, StreamStats},
    target::Target,
    transport::Transport,
};

/// The time that streams are held by default.
const DEFAULT_HOLD: Duration = Duration::from_secs(10);

/// The flags that do not apply to a load of streams.
const NOT_WITH_STREAMS: [&str; 9] =
    ["calls", "duration", "callers", "rate", "warmup", "min_rate", "max_p50", "max_p95", "max_p99"];

/// The flags of streams.
#[derive(Debug, Args)]
#[command(next_help_heading = "Streams")]
pub(super) struct Streams {
    /// Hold this many streams of a server-streaming method open instead of making calls, and say which pod holds how
    /// many. A stream that ends is opened again at once [default method: grpc.health.v1.Health/Watch]
    #[arg(
        long = "streams",
        value_name = "N",
        value_parser = number::callers,
        conflicts_with_all = NOT_WITH_STREAMS
    )]
    count: Option<NonZeroUsize>,

    /// Hold the streams for this time once each was opened [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = nonzero_duration, requires = "count")]
    hold: Option<Duration>,
}

// === impl Streams ===

impl Streams {
    /// Returns the number of streams, if streams are wanted.
    pub(super) fn count(&self) -> Option<NonZeroUsize> {
        self.count
    }

    /// Holds `count` streams and returns their result.
    pub(super) async fn run(
        &self,
        count: NonZeroUsize,
        target: &Target,
        options: &Options,
        stop: &CancellationToken,
    ) -> Result<(LoadResult, Transport), CliError> {
        if matches!(target, Target::Http(_)) {
            let why = format!("{target} has no gRPC streams; write grpc://host:port or dns:///host:port");
            return Err(CliError::new(USAGE, why));
        }
        let mut setup = options.setup();
        if setup.method.method.is_none() {
            setup.method.method = WATCH.parse().ok();
        }
        let transport = Transport::open(target, setup, Some(options.timeout)).await?;
        let sources = transport.stream_callers(target, count)?;
        let plan = HoldPlan { time: self.hold.unwrap_or(DEFAULT_HOLD), timeout: options.timeout };
        let mut before = None;
        let line = indicatif::ProgressBar::new_spinner();
        let observe = |stats: &StreamStats| {
            if before.is_none() && stats.settled.is_some() {
                before = Some(transport.endpoints());
            }
            line.set_message(progress(stats));
            line.tick();
        };
        let held = streams::hold(&plan, sources, stop, observe).await;
        line.finish_and_clear();
        let conditions = Conditions { callers: count.get(), ..options.conditions(target, &transport) };
        let before: Vec<EndpointState> = before.unwrap_or_else(|| conditions.endpoints.clone());
        let figures = Figures::new(transport.method(), &plan, &held, &before, &conditions.endpoints);
        let HoldOutcome { stats, elapsed, stopped } = held;
        let plan = Plan { calls: None, duration: Some(plan.time), rate: None, timeout: plan.timeout };
        let run = Run { tally: stats.tally, elapsed, unsent: 0, stopped };
        let mut result = LoadResult::of_streams(&conditions, &plan, &run, figures, &options.expectations);
        if result.succeeded == 0 && options.method.method.is_none() {
            result.notes.push(format!(
                "{WATCH} was called; name another method that streams responses with --method"
            ));
        }
        Ok((result, transport))
    }
}

fn progress(stats: &StreamStats) -> String {
    let pods = stats.pods.values().filter(|pod| pod.held > 0).count();
    format!(
        "{} of {} open on {}, {} ended early, {} not opened",
        render::count(stats.held()),
        render::counted(stats.wanted(), "stream"),
        render::counted(pods as u64, "pod"),
        render::count(stats.ended),
        render::count(stats.not_opened),
    )
}
