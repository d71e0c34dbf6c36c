//! `kubetester call`: a call every few seconds, and a line for each.

mod known_methods;
mod lines;
mod request;

use std::{num::NonZeroUsize, process::ExitCode, time::Duration};

use clap::Args;
use http::{HeaderName, HeaderValue, Method};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use self::{
    known_methods::KnownMethod,
    lines::{Lines, Outcome},
};
use super::{COULD_NOT_RUN, CliError, OK, USAGE, nonzero_duration, output, stop_on_interrupt};
use crate::{
    conditions::Conditions,
    engine::{Plan, Run},
    expect::Expectations,
    method::MethodOptions,
    number,
    pod_name::{PodFrom, PodSource},
    result::LoadResult,
    sanitize,
    tally::{Sample, Tally},
    target::Target,
    transport::{self, CallError, Caller, Content, GrpcOptions, HttpOptions, Tls, Transport},
};

/// The time from one call to the next.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);

const EXAMPLES: &str = r#"Examples:
  kubetester call http://127.0.0.1:8200/hellogrpc --every 1s
  kubetester call https://api.example.com/orders -n 1 -X PUT -H 'authorization: Bearer TOKEN' -d @order.json
  kubetester call grpc://greeter:50051 --method helloworld.Greeter/SayHello -d '{"name": "Ann"}' -n 10 --every 0 -v"#;

/// Call a target every few seconds and print what each call got, one line a call
///
/// Goes on through errors until Ctrl-C, and then sums up by pod. Exits 0 when any call succeeded, 2 on bad usage,
/// and 3 when none did.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Call {
    /// Target to call, as for `kubetester load`. Without one, the ticketing service is called:
    /// ticketing.CustomerController/GetCustomer at dns:///SERVER_DOMAIN:SERVER_PORT, every 3 s
    target: Option<Target>,

    /// The ticketing server's name [default: localhost]
    #[arg(long, env, value_name = "SERVER_DOMAIN")]
    server_domain: Option<String>,

    /// The ticketing server's port [default: 12345]
    #[arg(long, env, value_name = "SERVER_PORT")]
    server_port: Option<String>,

    /// Time from one call to the next; with 0, the next call follows at once [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = parse_interval)]
    every: Option<Duration>,

    /// Name to greet, for HTTP targets and greeting methods
    #[arg(long, value_name = "NAME", conflicts_with = "data")]
    name: Option<String>,

    /// Stop after this many calls, such as 10 or 1k [default: never]
    #[arg(short = 'n', long, value_name = "N", value_parser = number::calls)]
    calls: Option<u64>,

    /// A call without an answer after this time has failed
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = nonzero_duration)]
    timeout: Duration,

    /// Print response headers and trailers too
    #[arg(short, long)]
    verbose: bool,

    /// Send this header, or gRPC metadata, with each call; may be repeated
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = transport::header)]
    header: Vec<(HeaderName, HeaderValue)>,

    /// The method of each HTTP request [default: GET, or POST with --data]
    #[arg(short = 'X', long, value_name = "METHOD")]
    request: Option<Method>,

    /// Place where an answer names its pod, as `kubetester load` takes it
    #[arg(long, value_name = "PLACE", default_value = "known")]
    pod_from: PodFrom,

    #[command(flatten)]
    method: MethodOptions,

    #[command(flatten)]
    grpc: GrpcOptions,

    #[command(flatten)]
    http: HttpOptions,

    #[command(flatten)]
    tls: Tls,

    /// True if the method's own line is all that is printed for a call that succeeded.
    #[arg(skip)]
    brief: bool,
}

/// The calls of a command and their outcomes.
pub(super) struct Calls {
    pub(super) target: Target,
    tally: Tally,
    elapsed: Duration,
    pod_source: Option<PodSource>,
    /// True if the calls ended because standard output is a closed pipe.
    closed: bool,
}

// === impl Call ===

impl Call {
    /// Calls the echo service of `target` with `message`.
    pub(super) fn echo(
        target: Target,
        message: String,
        every: Duration,
        calls: Option<u64>,
    ) -> Result<Self, CliError> {
        let method = known_methods::ECHO.parse().map_err(|error: String| CliError::new(USAGE, error))?;
        Ok(Self {
            target: Some(target),
            server_domain: None,
            server_port: None,
            every: Some(every),
            name: Some(message),
            calls,
            timeout: DEFAULT_INTERVAL,
            verbose: false,
            header: Vec::new(),
            request: None,
            pod_from: PodFrom::Known,
            method: MethodOptions { method: Some(method), ..MethodOptions::default() },
            grpc: GrpcOptions::default(),
            http: HttpOptions::default(),
            tls: Tls::default(),
            brief: true,
        })
    }

    pub(super) async fn run(mut self) -> Result<ExitCode, CliError> {
        let stop = stop_on_interrupt();
        let calls = self.run_until(&stop).await?;
        self.summarize(calls)
    }

    /// Calls until `stop` is cancelled or `--calls` calls were made.
    pub(super) async fn run_until(&mut self, stop: &CancellationToken) -> Result<Calls, CliError> {
        let target = self.target()?;
        let known_method = self.prepare(&target)?;
        // The server may not be running yet.
        let transport = Transport::open(&target, self.setup(), None).await?;
        let mut caller = transport.callers(NonZeroUsize::MIN).swap_remove(0);
        let lines = Lines { known_method, verbose: self.verbose, brief: self.brief };

        let start = Instant::now();
        let mut tally = Tally::default();
        let every = self.every.or(known_method.map(KnownMethod::every)).unwrap_or(DEFAULT_INTERVAL);
        let mut due = interval(every.max(Duration::from_nanos(1)));
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut source_shown, mut methods_shown) = (false, false);
        let mut closed = false;
        while !closed && self.calls.is_none_or(|calls| tally.calls() < calls) {
            tokio::select! {
                _ = due.tick() => {}
                () = stop.cancelled() => break,
            }
            if !lines.before()? {
                closed = true;
                break;
            }
            let begin = Instant::now();
            let outcome = tokio::select! {
                outcome = self.call(&mut caller, &lines) => outcome?,
                () = stop.cancelled() => break,
            };
            let Some(outcome) = outcome else {
                closed = true;
                break;
            };
            let latency = begin.elapsed();
            closed = !lines.print(&outcome, latency)?;
            if let Outcome::Reply(reply) = &outcome
                && matches!(reply.content, Content::Error { unimplemented: true, .. })
                && !methods_shown
            {
                methods_shown = true;
                closed |= !self.print_methods(&caller).await?;
            }
            if let Some(source @ (PodSource::Header | PodSource::Peer)) = caller.pod_source()
                && !source_shown
                && !self.brief
            {
                source_shown = true;
                closed |= !lines::print(&format!("pods are named by {source}"))?;
            }
            let (pod, error) = outcome.sample();
            tally.record(Sample {
                at: start.elapsed(),
                late: Duration::ZERO,
                latency,
                pod,
                error,
                ..Sample::default()
            });
        }
        Ok(Calls { target, tally, elapsed: start.elapsed(), pod_source: caller.pod_source(), closed })
    }

    /// Makes one call. A stream's messages are printed as they arrive; if one cannot be printed, the call is cancelled.
    /// Returns no outcome if standard output is a closed pipe.
    async fn call(&self, caller: &mut Caller, lines: &Lines) -> Result<Option<Outcome>, CliError> {
        let mut written = Ok(true);
        let cancelled = CancellationToken::new();
        let mut on_message = |json: &str| {
            if matches!(written, Ok(true)) {
                written = lines.message(json);
            }
            if !matches!(written, Ok(true)) {
                cancelled.cancel();
            }
        };
        let name = self.name.as_deref().unwrap_or_default();
        let replied = tokio::select! {
            replied = timeout(self.timeout, caller.reply(name, &mut on_message)) => Some(replied),
            () = cancelled.cancelled() => None,
        };
        let (true, Some(replied)) = (written?, replied) else { return Ok(None) };
        match replied {
            Ok(Ok(reply)) => Ok(Some(Outcome::Reply(Box::new(reply)))),
            Ok(Err(CallError::NoReply(why))) => Ok(Some(Outcome::NoReply(why))),
            Ok(Err(CallError::Usage(why))) => Err(CliError::new(USAGE, sanitize::reason(why))),
            Err(_) => {
                let timeout = humantime::format_duration(self.timeout);
                Ok(Some(Outcome::NoReply(format!("no answer within {timeout}"))))
            }
        }
    }

    /// Prints which methods the server has.
    async fn print_methods(&self, caller: &Caller) -> Result<bool, CliError> {
        match timeout(self.timeout, caller.methods()).await {
            Ok(Ok(methods)) => lines::print(&format!("the server has {}", methods.join(", "))),
            Ok(Err(why)) => {
                let why = sanitize::reason(why.to_string());
                lines::print(&format!("the server does not list its methods: {why}"))
            }
            Err(_) => lines::print("the server does not list its methods in time"),
        }
    }

    fn summarize(&self, calls: Calls) -> Result<ExitCode, CliError> {
        let succeeded = calls.succeeded();
        let Calls { target, tally, elapsed, pod_source, .. } = calls;
        if tally.calls() > 1 {
            let plan = Plan { calls: self.calls, duration: None, rate: None, timeout: self.timeout };
            let run = Run { tally, elapsed, ..Run::default() };
            let result =
                LoadResult::new(&Conditions::new(target.clone(), 1), &plan, &run, &Expectations::default());
            lines::summary(&result)?;
            output::print_pod_source(pod_source.filter(|_| !result.pods.is_empty()))?;
        }
        match succeeded {
            true => Ok(ExitCode::from(OK)),
            false => {
                let hint = target.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
                Err(CliError::new(COULD_NOT_RUN, format!("no call to {target} succeeded{hint}")))
            }
        }
    }
}

// === impl Calls ===

impl Calls {
    /// Returns whether a call succeeded, or standard output was closed before any call ended.
    pub(super) fn succeeded(&self) -> bool {
        self.tally.succeeded > 0 || (self.closed && self.tally.calls() == 0)
    }
}

/// Reads the value of `--every`.
fn parse_interval(text: &str) -> Result<Duration, String> {
    match text {
        "0" => Ok(Duration::ZERO),
        text => service::parse_duration(text),
    }
}
