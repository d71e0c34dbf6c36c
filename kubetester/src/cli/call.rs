//! `kubetester call`: a call every few seconds, and a line for each.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use http::{HeaderName, HeaderValue};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{COULD_NOT_RUN, OK, Stop, USAGE, some_time, stop_on_interrupt};
use crate::{
    conditions::Conditions,
    engine::{Plan, Run},
    expect::Expectations,
    method::Choice,
    pod_name::PodFrom,
    render::{self, time},
    result::LoadResult,
    tally::{Sample, Tally},
    target::Target,
    transport::{self, Greeted, Setup, Tls, Transport},
};

/// The port of `SERVER_DOMAIN` when there is no `SERVER_PORT`.
const DEFAULT_PORT: u16 = 8000;

/// Call a target every few seconds and print who answered, one line a call
///
/// Goes on through errors until Ctrl-C, and then sums up by pod. Exits 0 when any call succeeded, 2 on bad usage,
/// and 3 when none did.
#[derive(Debug, Args)]
pub(super) struct Call {
    /// Target to call, as for `kubetester load` [default: dns:///SERVER_DOMAIN:SERVER_PORT]
    target: Option<Target>,

    /// The server's name, when no target is given
    #[arg(long, env, value_name = "SERVER_DOMAIN")]
    server_domain: Option<String>,

    /// The server's port, when no target is given [default: 8000]
    #[arg(long, env, value_name = "SERVER_PORT")]
    server_port: Option<String>,

    /// Time from one call to the next
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = some_time)]
    every: Duration,

    /// Name to greet
    #[arg(long, value_name = "NAME", default_value = "", conflicts_with_all = ["method", "data"])]
    name: String,

    /// Stop after this many calls [default: never]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    calls: Option<u64>,

    /// A call without an answer after this time has failed
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = some_time)]
    timeout: Duration,

    /// Send this header, or gRPC metadata, with each call; may be repeated
    #[arg(long, value_name = "NAME: VALUE", value_parser = transport::header)]
    header: Vec<(HeaderName, HeaderValue)>,

    /// Where an answer names its pod, as `kubetester load` takes it
    #[arg(long, value_name = "PLACE", default_value = "known")]
    pod_from: PodFrom,

    #[command(flatten)]
    method: Choice,

    #[command(flatten)]
    tls: Tls,
}

// === impl Call ===

impl Call {
    pub(super) async fn run(self) -> Result<ExitCode, Stop> {
        let stop = stop_on_interrupt();
        let target = self.target()?;
        // Nobody has to be there yet.
        let transport = Transport::open(&target, self.setup(&target), None).await?;
        let mut caller = transport.callers(std::num::NonZeroUsize::MIN).swap_remove(0);

        let start = Instant::now();
        let mut tally = Tally::default();
        let mut due = interval(self.every);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.calls.is_none_or(|calls| tally.calls() < calls) {
            tokio::select! {
                _ = due.tick() => {}
                () = stop.cancelled() => break,
            }
            let begin = Instant::now();
            let greeted = tokio::select! {
                greeted = timeout(self.timeout, caller.greet(&self.name)) => greeted,
                () = stop.cancelled() => break,
            };
            let late = || Err(format!("no answer within {}", humantime::format_duration(self.timeout)));
            let greeted = greeted.unwrap_or_else(|_| late());
            let latency = begin.elapsed();
            if say(&greeted, latency).is_err() {
                // Nobody reads any more (`| head`).
                return Ok(ExitCode::from(OK));
            }
            let (pod, error) = match greeted {
                Ok(greeted) => (Some(greeted.hostname).filter(|pod| !pod.is_empty()), None),
                Err(error) => (None, Some(error)),
            };
            tally.record(Sample { at: start.elapsed(), late: Duration::ZERO, latency, pod, error });
        }
        self.sum_up(&target, tally, start.elapsed())
    }

    fn setup(&self, target: &Target) -> Setup {
        let mut method = self.method.clone();
        if !method.is_set() && !matches!(target, Target::Http(_)) {
            method.data = Some(json!({ "name": self.name }).to_string());
        }
        Setup {
            headers: self.header.iter().cloned().collect(),
            pod_from: self.pod_from.clone(),
            connections: None,
            method,
            request: None,
            tls: self.tls.clone(),
        }
    }

    fn target(&self) -> Result<Target, Stop> {
        if let Some(target) = &self.target {
            return Ok(target.clone());
        }
        let Some(domain) = self.server_domain.as_deref().filter(|domain| !domain.is_empty()) else {
            return Err(Stop::new(USAGE, "what to call? Give a target, or SERVER_DOMAIN and SERVER_PORT"));
        };
        // Read only when it is wanted: beside a service called "server", Kubernetes sets it to a URL.
        let port = match self.server_port.as_deref().filter(|port| !port.is_empty()) {
            Some(port) => port
                .parse::<u16>()
                .map_err(|_| Stop::new(USAGE, format!("SERVER_PORT is {port:?}, which is no port")))?,
            None => DEFAULT_PORT,
        };
        let target = format!("dns:///{domain}:{port}").parse();
        target.map_err(|error: crate::target::InvalidTarget| Stop::new(USAGE, error.to_string()))
    }

    fn sum_up(&self, target: &Target, tally: Tally, elapsed: Duration) -> Result<ExitCode, Stop> {
        let answered = tally.succeeded > 0;
        if tally.calls() > 1 {
            let plan = Plan { calls: self.calls, duration: None, rate: None, timeout: self.timeout };
            let run = Run { tally, elapsed, ..Run::default() };
            let result =
                LoadResult::new(&Conditions::new(target.clone(), 1), &plan, &run, &Expectations::default());
            let page = format!("\n{}", render::load(&result));
            // A closed pipe has seen all it wants.
            drop(anstream::stdout().write_all(page.as_bytes()));
        }
        match answered {
            true => Ok(ExitCode::from(OK)),
            false => Err(Stop::new(COULD_NOT_RUN, format!("no call to {target} succeeded"))),
        }
    }
}

/// One line for one call.
fn say(greeted: &Result<Greeted, String>, latency: Duration) -> io::Result<()> {
    let took = time(latency.as_secs_f64());
    match greeted {
        Ok(Greeted { name, version, hostname, said, peer }) => {
            let name = if name.is_empty() { "stranger" } else { name };
            let hostname = if hostname.is_empty() { "an unnamed pod" } else { hostname };
            let version = if version.is_empty() { String::new() } else { format!(" ({version})") };
            let via = peer.map(|peer| format!(" via {peer}")).unwrap_or_default();
            let what = match said {
                Some(said) => format!("{said} from {hostname}"),
                None => format!("Hello {name} from {hostname}{version}"),
            };
            writeln!(anstream::stdout(), "{what} in {took}{via}")
        }
        Err(error) => writeln!(anstream::stdout(), "No answer after {took}: {error}"),
    }
}
