//! The demo as the platform of a drill: pods and gateway are child processes, and a DNS server publishes the pods.
//!
//! Each pod has a loopback address of its own, and all pods share one port. As with a headless Service, the name in DNS
//! resolves to the pods that are ready. Restarts follow a Deployment: a new pod, on a new address, is ready before an old
//! one gets SIGTERM.

mod gateway;
mod pods;
mod process;

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use rustix::process::Signal;
use tokio::{task::JoinSet, time::sleep};

use self::{
    gateway::Gateway,
    pods::{PORT, Pod, name, publish, start_http, start_pod},
    process::Process,
};
use super::{
    event_log::{EventKind, EventLog},
    platform::{DrillTarget, Platform, PlatformError, ResponseMode},
};
use crate::{
    demo::system::GRPC_SVC,
    dns::DnsServer,
    loopback::Block,
    target::{Endpoint, Target},
};

/// The time until the address of a killed pod is removed from DNS, about as long as a kubelet takes to notice.
const ENDPOINT_REMOVAL_DELAY: Duration = Duration::from_millis(500);
/// The time that a new pod must be ready before the next old pod gets SIGTERM (`minReadySeconds`).
const MIN_READY: Duration = Duration::from_millis(1000);
/// The addresses of pods within the block. Higher addresses are those of the DNS server and the gateway.
const POD_HOSTS: std::ops::RangeInclusive<u8> = 1..=200;
const DNS_HOST: u8 = 202;
const GATEWAY_HOST: u8 = 204;

/// A system of child processes. They are killed when it is dropped.
pub struct Demo {
    pods: BTreeMap<u8, Pod>,
    gateway: Gateway,
    /// The hellohttp pod, if there is one.
    http: Option<Process>,
    dns: DnsServer,
    settings: Settings,
    /// The number of the newest pod.
    last: u8,
    /// Pods that got SIGTERM and drain.
    draining: JoinSet<Result<(), PlatformError>>,
    block: Block,
}

/// The settings of the pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The number of hellogrpc pods at first.
    pub pods: u8,
    /// The time that a pod takes to answer.
    pub work: Duration,
    /// True if there is a hellohttp pod too, behind the gateway's `/hellohttp`.
    pub http: bool,
}

// === impl Demo ===

impl Demo {
    /// Starts everything, and waits until the gateway is connected to every pod.
    ///
    /// # Errors
    ///
    /// Fails if there are no loopback addresses, or a program does not start.
    pub async fn start(settings: Settings) -> Result<Self, PlatformError> {
        let block =
            Block::claim().map_err(|error| PlatformError::new("cannot get loopback addresses", error))?;
        let block = block.ok_or_else(|| {
            let why = "this system has 127.0.0.1 only; run the drill on Linux, or with --on compose";
            PlatformError(format!("each pod of the demo needs a loopback address of its own, and {why}"))
        })?;
        let dns = DnsServer::start(block.address(DNS_HOST).into()).await;
        let dns = dns.map_err(|error| PlatformError::new("cannot start the DNS server", error))?;
        let mut pods = BTreeMap::new();
        let mut port = None;
        for number in 1..=settings.pods {
            let process = start_pod(&block, number, port, &settings).await?;
            port = Some(process.listen.port());
            pods.insert(number, Pod { process: Some(process), listed: true });
        }
        let target = format!("dns://{}/{GRPC_SVC}:{}", dns.address(), port.unwrap_or(PORT));
        publish(&dns, &block, &pods);
        let port = port.unwrap_or(PORT);
        let http = match settings.http {
            true => Some(start_http(&block, &dns, &settings).await?),
            false => None,
        };
        let at = http.as_ref().map(|http| (http.listen.port(), dns.address()));
        let gateway =
            Gateway::start(block.address(GATEWAY_HOST), target, port, settings.pods.into(), at).await?;
        let last = settings.pods;
        Ok(Self { pods, gateway, http, dns, settings, last, draining: JoinSet::new(), block })
    }

    /// Starts a new pod and publishes it in DNS.
    async fn add(&mut self, event_log: &EventLog) -> Result<(), PlatformError> {
        let count = POD_HOSTS.end();
        let mut numbers = (0..*count).map(|step| (self.last + step) % count + 1);
        let number = numbers.find(|number| !self.pods.contains_key(number));
        let number =
            number.ok_or_else(|| PlatformError(format!("there are {count} pods, and no address is left")))?;
        self.last = number;
        let port = self.gateway.pods_port;
        let process = start_pod(&self.block, number, Some(port), &self.settings).await?;
        self.pods.insert(number, Pod { process: Some(process), listed: true });
        event_log.record(EventKind::Ready, &name(number));
        self.publish();
        Ok(())
    }

    /// Sends SIGTERM to a pod and removes it from DNS at the same time, as Kubernetes does.
    fn stop(&mut self, number: u8, event_log: &EventLog) -> Result<(), PlatformError> {
        let Some(Pod { process: Some(process), .. }) = self.pods.remove(&number) else { return Ok(()) };
        event_log.record(EventKind::Stopping, &name(number));
        process.signal(Signal::TERM)?;
        self.publish();
        self.draining.spawn(process.ended());
        Ok(())
    }

    fn pod(&mut self, pod: &str) -> Result<(u8, &mut Pod), PlatformError> {
        let known = self.pods.iter_mut().find(|(number, _)| name(**number) == pod);
        known
            .map(|(number, pod)| (*number, pod))
            .ok_or_else(|| PlatformError(format!("there is no pod {pod}")))
    }

    fn process(&mut self, pod: &str) -> Result<&Process, PlatformError> {
        let process = self.pod(pod)?.1.process.as_ref();
        process.ok_or_else(|| PlatformError(format!("{pod} does not run")))
    }

    fn publish(&self) {
        publish(&self.dns, &self.block, &self.pods);
    }
}

#[async_trait]
impl Platform for Demo {
    fn name(&self) -> &'static str {
        "demo"
    }

    async fn target(&mut self, drill_target: &DrillTarget) -> Result<Target, PlatformError> {
        Ok(match drill_target {
            DrillTarget::Gateway(path) => Target::Http(Endpoint {
                host: self.gateway.listen().ip().to_string(),
                port: self.gateway.listen().port(),
                path: path.clone(),
                tls: false,
            }),
            DrillTarget::Direct => Target::Balanced(self.gateway.target.clone()),
            DrillTarget::Tonic => {
                let listen = |pod: &Pod| pod.process.as_ref().map(|process| process.listen);
                Target::Tonic(self.pods.values().filter_map(listen).collect())
            }
            DrillTarget::Target(target) => {
                let why = "name a path of its gateway, direct or tonic; to drill a system of your own, use --on \
                           compose, --on processes or --on kubernetes";
                return Err(PlatformError(format!(
                    "{target} is outside the demo that this drill starts: {why}"
                )));
            }
        })
    }

    async fn pods(&mut self) -> Result<Vec<String>, PlatformError> {
        let alive = self.pods.iter().filter(|(_, pod)| pod.process.is_some());
        Ok(alive.map(|(number, _)| name(*number)).collect())
    }

    async fn kill(&mut self, pod: &str, event_log: &EventLog) -> Result<(), PlatformError> {
        let process = self.pod(pod)?.1.process.take();
        let process = process.ok_or_else(|| PlatformError(format!("{pod} does not run")))?;
        event_log.record(EventKind::Killed, pod);
        process.end().await?;
        sleep(ENDPOINT_REMOVAL_DELAY).await;
        self.pod(pod)?.1.listed = false;
        self.publish();
        Ok(())
    }

    async fn revive(&mut self, pod: &str, event_log: &EventLog) -> Result<(), PlatformError> {
        let (number, _) = self.pod(pod)?;
        // Name and address stay the same, as for a container that is started again.
        let port = self.gateway.pods_port;
        let process = start_pod(&self.block, number, Some(port), &self.settings).await?;
        self.pods.insert(number, Pod { process: Some(process), listed: true });
        event_log.record(EventKind::Ready, pod);
        self.publish();
        Ok(())
    }

    async fn freeze(&mut self, pod: &str, event_log: &EventLog) -> Result<(), PlatformError> {
        event_log.record(EventKind::Frozen, pod);
        self.process(pod)?.signal(Signal::STOP)
    }

    async fn thaw(&mut self, pod: &str, event_log: &EventLog) -> Result<(), PlatformError> {
        event_log.record(EventKind::Thawed, pod);
        self.process(pod)?.signal(Signal::CONT)
    }

    async fn scale(&mut self, pods: u16, event_log: &EventLog) -> Result<(), PlatformError> {
        while self.pods.len() < pods.into() {
            self.add(event_log).await?;
        }
        while self.pods.len() > pods.into() {
            let newest = self.pods.last_key_value().map(|(number, _)| *number);
            newest.map_or(Ok(()), |newest| self.stop(newest, event_log))?;
        }
        Ok(())
    }

    async fn restart(&mut self, event_log: &EventLog) -> Result<(), PlatformError> {
        let old: Vec<_> = self.pods.keys().copied().collect();
        for number in old {
            self.add(event_log).await?;
            sleep(MIN_READY).await;
            self.stop(number, event_log)?;
        }
        while let Some(ended) = self.draining.join_next().await {
            ended.map_err(|error| PlatformError(error.to_string()))??;
        }
        Ok(())
    }

    async fn set_dns_mode(
        &mut self,
        response_mode: ResponseMode,
        event_log: &EventLog,
    ) -> Result<(), PlatformError> {
        event_log.record_without_pod(match response_mode {
            ResponseMode::Answer => EventKind::DnsAnswers,
            ResponseMode::Fail => EventKind::DnsFails,
            ResponseMode::Silent => EventKind::DnsSilent,
            ResponseMode::Lossy => EventKind::DnsLossy,
        });
        self.dns.zone().set_response_mode(response_mode);
        Ok(())
    }

    async fn restore(&mut self) -> Result<(), PlatformError> {
        // A process is killed when it is dropped, even if it has not drained.
        self.draining.shutdown().await;
        let pods = std::mem::take(&mut self.pods).into_values().filter_map(|pod| pod.process);
        let pods = pods.chain(self.http.take());
        let ended = futures_util::future::join_all(pods.map(Process::end)).await;
        self.gateway.end().await?;
        ended.into_iter().collect()
    }
}
