//! Runs a drill: the load and, at the same time, the scenario.

use std::{num::NonZeroUsize, sync::Arc};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Drill, Name};
use crate::{
    cli::{CliError, output::Printed, watch::run_with_progress},
    conditions::Conditions,
    drill::{
        event_log::EventLog,
        paths::PathCounter,
        platform::{DrillTarget, Platform},
        result::DrillResult,
        scenario::{Scenario, Times},
        success_log::SuccessLog,
    },
    engine::{Call as _, Plan, Run},
    pod_name::PodFrom,
    render::{self, machines::Row},
    result::LoadResult,
    target::Target,
    transport::{GrpcOptions, HttpOptions, Setup, Transport},
};

/// The gateway's path to the gRPC backend.
const GRPC_PATH: &str = "/hellogrpc";
/// The gateway's path to the HTTP backend.
const HTTP_PATH: &str = "/hellohttp";

// === impl Drill ===

impl Drill {
    /// Returns whether the gateway's HTTP backend is called.
    pub(super) fn calls_http(&self) -> bool {
        self.paths().contains(&HTTP_PATH)
    }

    /// Returns the paths of the gateway that are called if no target is given.
    fn paths(&self) -> &'static [&'static str] {
        match (self.scenario, &self.target) {
            (_, Some(_)) => &[],
            (Name::DnsOutage, None) => &[GRPC_PATH, HTTP_PATH],
            (_, None) => &[GRPC_PATH],
        }
    }

    /// Returns the targets of the load. There are several only if they are paths of the gateway.
    async fn targets(
        &self,
        platform: &mut dyn Platform,
    ) -> Result<Vec<(Target, Arc<PathCounter>)>, CliError> {
        let drill_targets: Vec<_> = match &self.target {
            Some(drill_target) => vec![drill_target.clone()],
            None => self.paths().iter().map(|path| DrillTarget::Gateway((*path).to_owned())).collect(),
        };
        let mut targets = Vec::new();
        for drill_target in drill_targets {
            let counter = match &drill_target {
                DrillTarget::Gateway(path) => PathCounter::new(path),
                _ => PathCounter::new(""),
            };
            targets.push((platform.target(&drill_target).await?, counter));
        }
        Ok(targets)
    }

    fn setup(&self, pod_from: PodFrom) -> Setup {
        Setup {
            headers: self.header.iter().cloned().collect(),
            pod_from,
            connections: None,
            method: self.method.clone(),
            request: None,
            http: HttpOptions::default(),
            grpc: GrpcOptions::default(),
            tls: self.tls.clone(),
        }
    }

    /// Returns the place where answers name the drilled pods. A gateway's answers name both the gateway and a backend;
    /// if the drilled pods are those of the gateway, its name is used.
    async fn pod_from(&self, target: &Target, platform: &mut dyn Platform) -> Result<PodFrom, CliError> {
        if !matches!((&self.pod_from, target), (PodFrom::Known, Target::Http(_))) {
            return Ok(self.pod_from.clone());
        }
        let pods = platform.pods().await?;
        let one = NonZeroUsize::MIN;
        for pod_from in [PodFrom::Known, PodFrom::Pointer("/hostname".to_owned())] {
            let setup = self.setup(pod_from.clone());
            let transport = Transport::open(target, setup, Some(self.timeout)).await?;
            let mut caller = transport.callers(one).remove(0);
            let outcome = timeout(self.timeout, caller.call()).await.unwrap_or_default();
            if outcome.pod.is_some_and(|pod| pods.contains(&pod)) {
                return Ok(pod_from);
            }
        }
        Ok(PodFrom::Known)
    }

    /// Runs the load and the scenario.
    pub(super) async fn run_drill(
        &self,
        scenario: Scenario,
        platform: &mut dyn Platform,
    ) -> Result<DrillResult, CliError> {
        let targets = self.targets(platform).await?;
        let pod_from = self.pod_from(&targets[0].0, platform).await?;
        let mut transports = Vec::new();
        for (target, _) in &targets {
            transports.push(Transport::open(target, self.setup(pod_from.clone()), Some(self.timeout)).await?);
        }
        let times =
            Times { steady: self.steady, outage: self.outage, patience: self.patience, settle: self.settle };
        let plan = Plan { calls: None, duration: None, rate: Some(self.rate), timeout: self.timeout };

        let event_log = EventLog::new();
        let success_log = Arc::new(SuccessLog::new(event_log.start()));
        let end = CancellationToken::new();
        let name = platform.name();
        let label = format!("{scenario} on {name}: ");
        let scenario_run = async {
            let result = scenario.run(&times, platform, &event_log, &success_log).await;
            end.cancel();
            result
        };
        let (run, outcome) = match &transports[..] {
            [one] => {
                let callers = success_log.wrap(one.callers(self.callers));
                let ((run, _), outcome) = tokio::join!(
                    run_with_progress(Run::default(), &plan, callers, &end, &label),
                    scenario_run
                );
                (run, outcome)
            }
            several => {
                // The engine gives calls to its callers in turn, so the paths are called in turn, too.
                let count = self.callers.get().div_ceil(several.len());
                let count = NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN);
                let callers = several.iter().zip(&targets).flat_map(|(transport, (_, counter))| {
                    transport.callers(count).into_iter().map(|caller| counter.wrap(caller))
                });
                let callers = success_log.wrap(callers.collect());
                let ((run, _), outcome) = tokio::join!(
                    run_with_progress(Run::default(), &plan, callers, &end, &label),
                    scenario_run
                );
                (run, outcome)
            }
        };
        outcome?;
        let conditions = Conditions {
            pod_is_peer: matches!(self.pod_from, PodFrom::Peer),
            endpoints: transports[0].endpoints(),
            ..Conditions::new(targets[0].0.clone(), self.callers.get())
        };
        let mut load = LoadResult::new(&conditions, &plan, &run, &self.expectations.load);
        let mut paths = Vec::new();
        if targets.len() > 1 {
            paths = targets.iter().map(|(_, counter)| counter.calls()).collect();
            let all: Vec<_> = targets.iter().map(|(target, _)| target.to_string()).collect();
            load.target = all.join(" and ");
        }
        let call_times = success_log.call_times();
        Ok(DrillResult::new(scenario, name, event_log.events(), &call_times, paths, load, &self.expectations))
    }
}

// === impl DrillResult ===

impl Printed for DrillResult {
    fn page(&self) -> String {
        render::drill(self)
    }

    fn rows(&self) -> Vec<Row<'_>> {
        vec![Row {
            kind: format!("drill {}", self.scenario),
            name: &self.load.target,
            verdict: &self.verdict,
            expectations: &self.expectations,
            load: &self.load,
        }]
    }

    fn without_details(&mut self) {
        self.load.without_details();
    }
}
