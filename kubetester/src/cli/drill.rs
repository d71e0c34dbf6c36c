//! `kubetester drill`: breaks something on purpose while load runs and reports the effect.

mod run;

use std::{num::NonZeroUsize, process::ExitCode, time::Duration};

use clap::{Args, ValueEnum};
use http::{HeaderName, HeaderValue};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{COULD_NOT_RUN, CliError, FAILED, OK, USAGE, nonzero_duration, output::Output, report::Report};
use crate::{
    drill::{
        compose::{self, Compose},
        demo::{self, Demo},
        expect::DrillExpectations,
        kubernetes::{DeploymentOptions, Kubernetes},
        platform::{DrillTarget, Platform, PlatformError},
        processes::{self, Processes},
        scenario::Scenario,
    },
    method::MethodOptions,
    number,
    pod_name::PodFrom,
    report,
    transport::{self, Tls},
};

const EXAMPLES: &str = r#"Examples:
  kubetester drill kill --max-errors 0 --max-discovery 2s
  kubetester drill freeze --on processes --pod 127.0.0.1:9001='./greeter --port 9001' --pod \
    127.0.0.1:9002='./greeter --port 9002' --target ipv4:127.0.0.1:9001,127.0.0.1:9002 \
    --method helloworld.Greeter/SayHello
  kubetester drill restart --on kubernetes --namespace shop --target http://gateway.example.com/hellogrpc
  kubetester drill dns-outage --report outage.html"#;

const DEMO: &str = "With --on demo";
const COMPOSE: &str =
    "With --on compose, on the project of this directory, COMPOSE_FILE or COMPOSE_PROJECT_NAME";

/// Break something on purpose while load runs and report the effect
///
/// kill: kills one pod (SIGKILL) and starts it again. restart: replaces every pod, one after the other. scale N:
/// changes the number of pods to N. freeze: stops one pod (SIGSTOP), so that it accepts connections and never answers,
/// and then resumes it. dns-outage: lets the DNS server fail, and meanwhile kills a pod and starts it again (demo
/// only). The busiest pod is the one that is killed or stopped. On Kubernetes there are kill (deletion without grace
/// period), restart (`kubectl rollout restart`) and scale; on processes there are kill, freeze and restart. The system is
/// restored at the end, also on Ctrl-C; a process of --pid that was killed is not started again. Exits as `load` does.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Drill {
    /// Scenario to run
    scenario: Name,

    /// Number of pods for scale
    #[arg(value_name = "N", value_parser = clap::value_parser!(u16).range(1..=200))]
    pods_wanted: Option<u16>,

    /// System to drill
    #[arg(long, value_name = "SYSTEM", default_value = "demo")]
    on: On,

    /// Target of the load: a path of the system's gateway; direct: the pods over a balanced channel in this program; tonic:
    /// the pods over tonic's own balancer; or, with --on compose, processes and kubernetes, any target of `load` that leads
    /// to the drilled pods [default: /hellogrpc; dns-outage: /hellogrpc and /hellohttp in turn]
    #[arg(long, alias = "url", value_name = "TARGET")]
    target: Option<DrillTarget>,

    /// Calls a second, evenly spaced, whether or not earlier calls were answered
    #[arg(short = 'q', long, value_name = "CALLS/S", default_value = "500", value_parser = number::rate)]
    rate: f64,

    /// Maximum number of calls in flight
    #[arg(short = 'c', long, value_name = "N", default_value = "128", value_parser = number::callers)]
    callers: NonZeroUsize,

    /// Timeout of a call
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = nonzero_duration)]
    timeout: Duration,

    /// Time that the load runs before the first event
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = nonzero_duration)]
    steady: Duration,

    /// Time from the loss of a pod to its return. A frozen pod gets calls as soon as it is resumed if that is after at
    /// least 4 s, because the balancer has then detected that its connection is dead and not merely slow
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = nonzero_duration)]
    outage: Duration,

    /// Maximum time to wait for the first successful call, and for the first call to a pod that is ready
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = nonzero_duration)]
    patience: Duration,

    /// Time that the load continues after the system has recovered
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = nonzero_duration)]
    settle: Duration,

    /// Send this header, or gRPC metadata, with each call; may be repeated
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = transport::header)]
    header: Vec<(HeaderName, HeaderValue)>,

    /// Place where an answer names its pod, as for `load`
    #[arg(long, value_name = "PLACE", default_value = "known")]
    pod_from: PodFrom,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    report: Report,

    #[command(flatten)]
    method: MethodOptions,

    #[command(flatten)]
    tls: Tls,

    /// Number of hellogrpc pods of the demo
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u8).range(1..=100), help_heading = DEMO)]
    pods: u8,

    /// Time that a pod of the demo takes to answer, so that calls are in flight when a pod is lost
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = service::parse_duration, help_heading = DEMO)]
    work: Duration,

    /// The service whose containers are the pods
    #[arg(long, value_name = "SERVICE", default_value = "hellogrpc", help_heading = COMPOSE)]
    service: String,

    /// The service of the gateway, for a --target that is a path
    #[arg(long, value_name = "SERVICE", default_value = "helloserve", help_heading = COMPOSE)]
    gateway: String,

    /// The compose command [default: docker compose, or else docker-compose]
    #[arg(long, value_name = "COMMAND", help_heading = COMPOSE)]
    compose: Option<String>,

    #[command(flatten)]
    processes: processes::Options,

    #[command(flatten)]
    deployment: DeploymentOptions,

    #[command(flatten)]
    expectations: DrillExpectations,
}

/// The scenarios by their names.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Name {
    Kill,
    Restart,
    Scale,
    Freeze,
    DnsOutage,
}

/// The systems by their names.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum On {
    /// Child processes of this program
    Demo,
    /// The running compose project
    Compose,
    /// Programs of your own on this machine
    Processes,
    /// A Deployment of a cluster, through its API server
    Kubernetes,
}

// === impl Drill ===

impl Drill {
    pub(super) async fn run(self) -> Result<ExitCode, CliError> {
        let scenario = self.scenario()?;
        self.output.check()?;
        let about = self.report.about()?;
        let interrupt = interrupt()?;
        let mut platform = tokio::select! {
            platform = self.platform() => platform?,
            () = interrupt.cancelled() => return Err(interrupted("nothing was done yet")),
        };
        let held = tokio::select! {
            held = self.run_drill(scenario, &mut *platform) => held,
            () = interrupt.cancelled() => Err(interrupted("the system is restored")),
        };
        let back = platform.restore().await;
        let mut result = match (held, back) {
            (Ok(result), Ok(())) => result,
            (Err(error), Ok(())) => return Err(error),
            (Ok(_), Err(error)) => return Err(not_restored(&error)),
            (Err(error), Err(restore_error)) => {
                return Err(CliError::new(
                    COULD_NOT_RUN,
                    format!("{}; {}", error.message, not_restored(&restore_error).message),
                ));
            }
        };
        let reported = self.report.write(|| report::drill(&result, &about));
        self.output.print(&mut result)?;
        reported?;
        if result.load.succeeded == 0 {
            let target = &result.load.target;
            return Err(CliError::new(COULD_NOT_RUN, format!("no call to {target} succeeded")));
        }
        Ok(ExitCode::from(if result.held() { OK } else { FAILED }))
    }

    fn scenario(&self) -> Result<Scenario, CliError> {
        if let (On::Demo, Some(DrillTarget::Target(target))) = (self.on, &self.target) {
            let why = "name a path of its gateway, direct or tonic; to drill a system of your own, use --on compose, \
                       --on processes or --on kubernetes";
            let sentence = format!("{target} is outside the demo that this drill starts: {why}");
            return Err(CliError::new(USAGE, sentence));
        }
        let scenario = self.named_scenario()?;
        if matches!(self.on, On::Processes) {
            let checked = self.processes.check(scenario, self.target.as_ref());
            checked.map_err(|sentence| CliError::new(USAGE, sentence))?;
        } else if self.processes.are_given() {
            return Err(CliError::new(USAGE, "--pod, --pid and --ready are for --on processes"));
        }
        Ok(scenario)
    }

    fn named_scenario(&self) -> Result<Scenario, CliError> {
        match (self.scenario, self.pods_wanted) {
            (Name::Scale, Some(pods)) => Ok(Scenario::Scale(pods)),
            (Name::Scale, None) => {
                Err(CliError::new(USAGE, "to how many pods? Write drill scale 5, for example"))
            }
            (_, Some(_)) => Err(CliError::new(USAGE, "a number of pods is for drill scale alone")),
            (Name::Freeze, None) if matches!(self.on, On::Kubernetes) => Err(CliError::new(
                USAGE,
                "drill freeze is for --on demo, compose and processes: an API server cannot stop and resume a process",
            )),
            (Name::Kill, None) => Ok(Scenario::Kill),
            (Name::Restart, None) => Ok(Scenario::Restart),
            (Name::Freeze, None) => Ok(Scenario::Freeze),
            (Name::DnsOutage, None) if matches!(self.on, On::Demo) => Ok(Scenario::DnsOutage),
            (Name::DnsOutage, None) => Err(CliError::new(
                USAGE,
                "drill dns-outage is for --on demo, whose DNS server can be told to fail",
            )),
        }
    }

    async fn platform(&self) -> Result<Box<dyn Platform>, CliError> {
        Ok(match self.on {
            On::Demo => {
                let http = self.calls_http();
                Box::new(Demo::start(demo::Settings { pods: self.pods, work: self.work, http }).await?)
            }
            On::Compose => {
                let settings = compose::Settings {
                    command: self.compose.clone(),
                    service: self.service.clone(),
                    gateway: self.gateway.clone(),
                };
                Box::new(Compose::find(settings).await?)
            }
            On::Processes => Box::new(Processes::start(&self.processes).await?),
            On::Kubernetes => Box::new(Kubernetes::find(self.deployment.clone()).await?),
        })
    }
}

/// Returns a token that Ctrl-C, SIGTERM or SIGHUP cancels. Further signals are ignored while the system is restored.
fn interrupt() -> Result<CancellationToken, CliError> {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let interrupt = CancellationToken::new();
    for kind in kinds {
        let signal = signal(kind);
        let mut signal = signal
            .map_err(|error| CliError::new(COULD_NOT_RUN, format!("cannot listen for signals: {error}")))?;
        let cancel = interrupt.clone();
        tokio::spawn(async move {
            while signal.recv().await.is_some() {
                cancel.cancel();
            }
        });
    }
    Ok(interrupt)
}

fn interrupted(state: &str) -> CliError {
    CliError::new(COULD_NOT_RUN, format!("interrupted before the drill was over; {state}"))
}

fn not_restored(error: &PlatformError) -> CliError {
    CliError::new(COULD_NOT_RUN, format!("restoring the system failed: {error}"))
}

impl From<PlatformError> for CliError {
    fn from(error: PlatformError) -> Self {
        Self::new(COULD_NOT_RUN, error.to_string())
    }
}
