//! `kubetester demo`: runs the whole system on this machine and shows which pods answer.

mod ticketing;

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anstyle::Style;
use clap::{ArgAction, Args, ValueEnum};
use service::{LogFormat, Shutdown, listen, logs};

use super::{COULD_NOT_RUN, CliError, FAILED, OK, output};
use crate::{
    demo::{
        first_calls::{self, BURSTS, CALLS},
        layout::{Layout, REPLICAS},
        system::{GRPC_SVC, HTTP_SVC, Pod, System},
        ticketing::Ticketing,
    },
    render::bar,
    tally::Tally,
};

/// The maximum time for the gateway to connect to its backends.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The length of the bar of a pod that took every call, in characters.
const BAR_WIDTH: usize = 36;

const EXAMPLES: &str = "Examples:
  kubetester demo
  kubetester demo --grpc-replicas 5 --listen 127.0.0.1:0 --once";

const BOLD: Style = Style::new().bold();

/// Run the whole system on this machine: gateway, gRPC and HTTP backends, DNS
///
/// Programs, sockets and DNS are those of a cluster, but run in one process on the loopback interface. Makes 12 calls
/// to each path of the gateway, shows which pods answered, and runs until Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Demo {
    /// Number of hellogrpc pods
    #[arg(long, value_name = "N", default_value = "3", value_parser = replicas())]
    grpc_replicas: u8,

    /// Number of hellohttp pods
    #[arg(long, value_name = "N", default_value = "3", value_parser = replicas())]
    http_replicas: u8,

    /// Address and port of the gateway; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8200")]
    listen: SocketAddr,

    /// Run this system beside it, and show a few calls: ticketing, two programs on one SQLite file. The program has to
    /// be built: cargo build --release -p ticketing
    #[arg(long, value_name = "SYSTEM")]
    with: Option<Extra>,

    /// Exit after the calls: 0 when they were spread as expected, 1 when they were not, 3 when the demo could not run
    #[arg(long)]
    once: bool,

    /// Show the programs' logs; twice for more
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,

    /// Give each program a port of 127.0.0.1 even if it could have an address of its own
    #[arg(long, hide = true)]
    one_address: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Extra {
    Ticketing,
}

fn replicas() -> clap::builder::RangedI64ValueParser<u8> {
    clap::value_parser!(u8).range(i64::from(*REPLICAS.start())..=i64::from(*REPLICAS.end()))
}

// === impl Demo ===

impl Demo {
    pub(super) async fn run(self) -> Result<ExitCode, CliError> {
        self.log();
        let failed = |error: &dyn std::fmt::Display| CliError::new(COULD_NOT_RUN, error.to_string());
        let extra = self.with.map(|Extra::Ticketing| ticketing::program()).transpose()?;
        let shutdown = Shutdown::from_signals(Duration::ZERO, Duration::from_secs(5));
        let shutdown =
            shutdown.map_err(|error| failed(&format_args!("cannot listen for signals: {error}")))?;
        let listener = listen::address(self.listen, "--listen").map_err(|error| failed(&error))?;
        let layout = Layout::bind(self.grpc_replicas, self.http_replicas, self.one_address).await;
        let layout =
            layout.map_err(|error| failed(&format_args!("cannot get loopback addresses: {error}")))?;
        let mut system = System::start(layout, listener).await.map_err(|error| failed(&error))?;

        let mut extra = match extra {
            Some(program) => Some(ticketing::start(&program).await?),
            None => None,
        };
        let ended = tokio::select! {
            ended = self.show(&mut system, extra.as_mut(), &shutdown) => ended,
            () = shutdown.closing() => Ok(ExitCode::from(OK)),
        };
        if let Some(extra) = extra {
            extra.stop().await;
        }
        system.stop().await;
        ended
    }

    async fn show(
        &self,
        system: &mut System,
        extra: Option<&mut Ticketing>,
        shutdown: &Shutdown,
    ) -> Result<ExitCode, CliError> {
        system.connected(CONNECT_TIMEOUT).await.map_err(|why| CliError::new(COULD_NOT_RUN, why))?;
        show(&program_addresses(system))?;
        if !self.once {
            show(&commands(system))?;
        }

        let grpc = first_calls::grpc(system).await?;
        show(&format!(
            "{BOLD}{CALLS} calls to /hellogrpc{BOLD:#}, one after the other\n{}",
            answers_by_pod(&system.grpc, &grpc)
        ))?;
        let http = first_calls::http(system).await?;
        show(&format!(
            "{BOLD}{CALLS} calls to /hellohttp{BOLD:#}, in {BURSTS} bursts: a ClusterIP chooses a pod for each \
             connection,\nand the gateway drops idle connections in between\n{}",
            answers_by_pod(&system.http, &http)
        ))?;
        let mut unmet = first_calls::unmet(system, &grpc, &http);
        if let Some(ticketing) = &extra {
            unmet.extend(ticketing::show(ticketing, self.once).await?);
        }
        for sentence in &unmet {
            output::print_error(sentence);
        }
        if self.once {
            return Ok(ExitCode::from(if unmet.is_empty() { OK } else { FAILED }));
        }
        show("Ctrl-C stops it.")?;
        tokio::select! {
            () = shutdown.closing() => Ok(ExitCode::from(OK)),
            why = system.failed() => Err(CliError::new(COULD_NOT_RUN, why)),
            why = ticketing::failed(extra) => Err(CliError::new(COULD_NOT_RUN, why)),
        }
    }

    fn log(&self) {
        let filter = match self.verbose {
            0 => return,
            1 => "info,hickory_server=warn",
            _ => "debug",
        };
        if let Ok(filter) = filter.parse() {
            logs::init(filter, LogFormat::Text);
        }
    }
}

fn show(text: &str) -> Result<(), CliError> {
    output::write(format!("{text}\n").as_bytes())
}

/// Returns the addresses of the programs.
fn program_addresses(system: &System) -> String {
    let mut text = String::new();
    let mut line = |name: &str, at: &str, what: &str| {
        let line = format!("  {BOLD}{name:<13}{BOLD:#} {at:<24} {what}");
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line("helloserve", &system.gateway.to_string(), "the gateway");
    line("", &system.admin.to_string(), "its admin port: /metrics, /readyz, /debug/channels");
    for pod in system.grpc.iter().chain(&system.http) {
        line(&pod.name, &pod.address.to_string(), "");
    }
    let dns = system.dns.address().to_string();
    if system.own_addresses {
        line(GRPC_SVC, &dns, "DNS answers with the hellogrpc addresses, as for a headless service");
    } else {
        line(
            GRPC_SVC,
            "ipv4: list",
            "this machine has only one loopback address, so the gateway has a list of ports",
        );
    }
    line(HTTP_SVC, &dns, &format!("DNS answers with a ClusterIP, {}", system.cluster_ip.address().ip()));
    line(
        "",
        &system.cluster_ip.address().to_string(),
        "the ClusterIP: each connection goes to the next hellohttp",
    );
    text
}

/// Returns commands to try while the system runs.
fn commands(system: &System) -> String {
    let gateway = format!("http://{}", system.reachable_gateway());
    format!(
        "  curl '{gateway}/hellogrpc?name=Ann'\n  curl '{gateway}/hellohttp?name=Ann'\n  \
         curl '{gateway}/hellogrpc?via=pick_first'  # one connection, so one pod; {gateway}/routes lists more\n  \
         curl 'http://{}/debug/channels'\n  kubetester load {gateway}/hellogrpc\n  \
         kubetester compare --gateway {gateway}\n",
        system.admin
    )
}

/// Returns a line for each pod, and one for answers from unknown pods.
fn answers_by_pod(pods: &[Pod], tally: &Tally) -> String {
    let mut lines: Vec<(&str, u64)> = Vec::new();
    for pod in pods {
        lines.push((&pod.name, tally.pods.get(&pod.name).map_or(0, |pod| pod.calls)));
    }
    let named: u64 = lines.iter().map(|(_, calls)| calls).sum();
    lines.push(("others", tally.succeeded - named.min(tally.succeeded)));
    lines.push(("failed", tally.failed()));
    lines.retain(|(name, calls)| *calls > 0 || !matches!(*name, "others" | "failed"));
    let line = |(name, calls): (&str, u64)| {
        format!("  {name:<13} {calls:>2}  {}\n", bar(calls as f64 / CALLS as f64, BAR_WIDTH))
    };
    lines.into_iter().map(line).collect()
}
