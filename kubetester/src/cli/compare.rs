//! `kubetester compare`: puts the same load on several targets and shows the results side by side.

use std::process::ExitCode;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{
    COULD_NOT_RUN, CliError, USAGE, exit_code,
    options::{Opened, Options},
    output::Printed,
    stop_on_interrupt,
    watch::run_with_progress,
};
use crate::{
    compare::{Compared, Comparison, Round},
    engine::Run,
    gateway::{Gateway, NoRoutes},
    render::{self, machines::Row},
    report,
    result::LoadResult,
    target::Target,
    transport::{Caller, Transport},
};

const EXAMPLES: &str = r#"Examples:
  kubetester compare --gateway http://127.0.0.1:8200 -n 9000
  kubetester compare grpc://grpc-svc:8000 dns:///grpc-svc:8000 -z 30s --report compare.html"#;

/// Put the same load on several targets and show the results side by side
///
/// Each target gets its load in parts, one target after the other and round after round, so that changes on the
/// machine or the network affect all targets alike. Expectations are checked for each target. Exits as `load` does.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Compare {
    /// Targets to compare, as for `kubetester load`
    #[arg(value_name = "TARGET", required_unless_present = "gateway")]
    targets: Vec<Target>,

    /// Compare the routes that this gateway lists at URL/routes; the default route only if there is no other
    #[arg(long, value_name = "URL")]
    gateway: Option<Gateway>,

    /// Number of rounds; -n and --duration are for all rounds together
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,

    #[command(flatten)]
    options: Options,
}

/// One target and its results so far.
struct ComparedTarget {
    name: String,
    target: Target,
    transport: Transport,
    callers: Vec<Caller>,
    run: Run,
    /// The figures of each round.
    rounds: Vec<Round>,
}

// === impl Compare ===

impl Compare {
    pub(super) async fn run(self) -> Result<ExitCode, CliError> {
        let about = self.options.about()?;
        let stop = stop_on_interrupt();
        let mut targets = Vec::new();
        for (name, target) in self.named_targets().await? {
            let Opened { transport, callers } = self.options.open(&target, &stop).await?;
            let run = Run::default();
            targets.push(ComparedTarget { name, target, transport, callers, run, rounds: Vec::new() });
        }
        let rounds = self.run_rounds(&mut targets, &stop).await;
        if stop.is_cancelled() {
            // Targets without any calls are not compared.
            targets.retain(|one| one.run.tally.calls() > 0);
        }
        if targets.is_empty() {
            return Err(CliError::new(COULD_NOT_RUN, "interrupted before any call had ended"));
        }
        let plan = self.options.plan();
        let result = |ComparedTarget { name, target, transport, run, rounds, .. }| {
            let conditions = self.options.conditions(&target, &transport);
            (name, LoadResult::new(&conditions, &plan, &run, &self.options.expectations), rounds)
        };
        let mut comparison = Comparison::new(rounds, targets.into_iter().map(result).collect());
        let reported = self.options.report.write(|| report::compare(&comparison, &about));
        self.options.output.print(&mut comparison)?;
        reported?;
        comparison.results.iter().try_for_each(|one| self.options.check_any_success(&one.load))?;
        Ok(exit_code(comparison.held(), stop.is_cancelled()))
    }

    /// Returns every target with its name.
    async fn named_targets(&self) -> Result<Vec<(String, Target)>, CliError> {
        let mut targets = Vec::new();
        if let Some(gateway) = &self.gateway {
            let routes = gateway.routes(self.options.setup(), self.options.timeout).await;
            targets.extend(routes.map_err(|error| match error {
                NoRoutes::Unreachable(error) => error.into(),
                error => CliError::new(COULD_NOT_RUN, error.to_string()),
            })?);
        }
        targets.extend(self.targets.iter().map(|target| (target.to_string(), target.clone())));
        match &targets[..] {
            [] => Err(CliError::new(COULD_NOT_RUN, "the gateway lists no routes")),
            [(name, _)] if self.gateway.is_some() => {
                let why = "there is nothing to compare it with; set GRPC_ROUTES, or name a target too";
                Err(CliError::new(COULD_NOT_RUN, format!("the gateway has one route, {name}: {why}")))
            }
            [_] => Err(CliError::new(
                USAGE,
                "one target has nothing to be compared with; name another, or use load",
            )),
            _ => Ok(targets),
        }
    }

    /// Returns the number of rounds, limited to the number of calls so that each round makes at least one.
    fn rounds(&self) -> u32 {
        let calls = self.options.calls.and_then(|calls| u32::try_from(calls).ok());
        calls.map_or(self.rounds, |calls| self.rounds.min(calls))
    }

    /// Runs all rounds, or those before an interrupt. Returns the number of rounds that started.
    async fn run_rounds(&self, targets: &mut [ComparedTarget], stop: &CancellationToken) -> u32 {
        let (rounds, count) = (self.rounds(), targets.len());
        for round in 0..rounds {
            let part = self.options.plan().part(round, rounds);
            for turn in 0..count {
                if stop.is_cancelled() {
                    return if turn == 0 { round } else { round + 1 };
                }
                // Each round starts with a different target.
                let one = &mut targets[(turn + round as usize) % count];
                let label = format!("round {} of {rounds}, {}: ", round + 1, one.name);
                // Each round has its own tally, with times measured from the start of the whole load.
                let run = Run { elapsed: one.run.elapsed, ..Run::default() };
                let callers = std::mem::take(&mut one.callers);
                let (run, callers) = run_with_progress(run, &part, callers, stop, &label).await;
                one.callers = callers;
                one.rounds.push(Round::new(&run.tally, run.elapsed - one.run.elapsed));
                one.run.add(run);
            }
        }
        rounds
    }
}

// === impl Comparison ===

impl Printed for Comparison {
    fn page(&self) -> String {
        render::compare(self)
    }

    fn rows(&self) -> Vec<Row<'_>> {
        self.results
            .iter()
            .map(|Compared { name, load, .. }| Row {
                kind: "compare".to_owned(),
                name,
                verdict: &load.verdict,
                expectations: &load.expectations,
                load,
            })
            .collect()
    }

    fn without_details(&mut self) {
        self.results.iter_mut().for_each(|one| one.load.without_details());
    }
}
