//! The stage of the drill's own: pods and gateway as child processes, and a DNS server that knows the pods.
//!
//! Each pod has a loopback address of its own, the pods' port is one, and a name in DNS has the addresses of those
//! that are ready, as a headless service has. Restarts go as a Deployment does them: a new pod, on a new address, is
//! ready before an old one is told to stop.

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
    event_log::{EventLog, What},
    platform::{Aim, Conduct, Platform, Trouble},
};
use crate::{
    demo::system::GRPC_SVC,
    dns::DnsServer,
    loopback::Block,
    target::{Endpoint, Target},
};

/// The time that the name of a killed pod still has its address: about what a kubelet takes to see it.
const SEEN_DEAD_AFTER: Duration = Duration::from_millis(500);
/// The time that a new pod has to be well before the next old one is told to stop (`minReadySeconds`).
const MIN_READY: Duration = Duration::from_millis(1000);
/// The addresses of pods, within the block; what is beyond belongs to DNS and gateway.
const PODS: std::ops::RangeInclusive<u8> = 1..=200;
const DNS: u8 = 202;
const GATEWAY: u8 = 204;

/// A system of child processes. Dropped, they are killed.
pub struct Demo {
    pods: BTreeMap<u8, Pod>,
    gateway: Gateway,
    /// The hellohttp pod, if there is one.
    http: Option<Process>,
    dns: DnsServer,
    settings: Settings,
    /// The address that the last new pod got.
    last: u8,
    /// Pods that were told to stop and drain.
    draining: JoinSet<Result<(), Trouble>>,
    block: Block,
}

/// The settings of the pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The number of hellogrpc pods at first.
    pub pods: u8,
    /// The time that each takes for an answer.
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
    pub async fn start(settings: Settings) -> Result<Self, Trouble> {
        let block = Block::claim().map_err(|error| Trouble::new("cannot get loopback addresses", error))?;
        let block = block.ok_or_else(|| {
            let why = "this system has 127.0.0.1 only; hold the drill on Linux, or with --on compose";
            Trouble(format!("each pod of the demo needs a loopback address of its own, and {why}"))
        })?;
        let dns = DnsServer::start(block.address(DNS).into()).await;
        let dns = dns.map_err(|error| Trouble::new("cannot start the DNS server", error))?;
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
        let gateway = Gateway::start(block.address(GATEWAY), target, port, settings.pods.into(), at).await?;
        let last = settings.pods;
        Ok(Self { pods, gateway, http, dns, settings, last, draining: JoinSet::new(), block })
    }

    /// Starts a pod that there was not yet, and lists it.
    async fn add(&mut self, journal: &EventLog) -> Result<(), Trouble> {
        let count = PODS.end();
        let mut numbers = (0..*count).map(|step| (self.last + step) % count + 1);
        let number = numbers.find(|number| !self.pods.contains_key(number));
        let number =
            number.ok_or_else(|| Trouble(format!("there are {count} pods, and no address is left")))?;
        self.last = number;
        let port = self.gateway.pods_port;
        let process = start_pod(&self.block, number, Some(port), &self.settings).await?;
        self.pods.insert(number, Pod { process: Some(process), listed: true });
        journal.note(What::Ready, &name(number));
        self.publish();
        Ok(())
    }

    /// Tells a pod to stop, and takes it off the list, as Kubernetes does: both at once.
    fn stop(&mut self, number: u8, journal: &EventLog) -> Result<(), Trouble> {
        let Some(Pod { process: Some(process), .. }) = self.pods.remove(&number) else { return Ok(()) };
        journal.note(What::Stopping, &name(number));
        process.signal(Signal::TERM)?;
        self.publish();
        self.draining.spawn(process.ended());
        Ok(())
    }

    fn pod(&mut self, pod: &str) -> Result<(u8, &mut Pod), Trouble> {
        let known = self.pods.iter_mut().find(|(number, _)| name(**number) == pod);
        known.map(|(number, pod)| (*number, pod)).ok_or_else(|| Trouble(format!("there is no pod {pod}")))
    }

    fn process(&mut self, pod: &str) -> Result<&Process, Trouble> {
        let process = self.pod(pod)?.1.process.as_ref();
        process.ok_or_else(|| Trouble(format!("{pod} does not run")))
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

    async fn target(&mut self, aim: &Aim) -> Result<Target, Trouble> {
        Ok(match aim {
            Aim::Gateway(path) => Target::Http(Endpoint {
                host: self.gateway.listen().ip().to_string(),
                port: self.gateway.listen().port(),
                path: path.clone(),
                tls: false,
            }),
            Aim::Direct => Target::Balanced(self.gateway.target.clone()),
            Aim::Tonic => {
                let listen = |pod: &Pod| pod.process.as_ref().map(|process| process.listen);
                Target::Tonic(self.pods.values().filter_map(listen).collect())
            }
            Aim::Target(target) => {
                let why = "name a path of its gateway, direct or tonic; to drill a system of your own, use --on \
                           compose, --on processes or --on kubernetes";
                return Err(Trouble(format!("{target} is outside the demo that this drill starts: {why}")));
            }
        })
    }

    async fn pods(&mut self) -> Result<Vec<String>, Trouble> {
        let alive = self.pods.iter().filter(|(_, pod)| pod.process.is_some());
        Ok(alive.map(|(number, _)| name(*number)).collect())
    }

    async fn kill(&mut self, pod: &str, journal: &EventLog) -> Result<(), Trouble> {
        let process = self.pod(pod)?.1.process.take();
        let process = process.ok_or_else(|| Trouble(format!("{pod} does not run")))?;
        journal.note(What::Killed, pod);
        process.end().await?;
        sleep(SEEN_DEAD_AFTER).await;
        self.pod(pod)?.1.listed = false;
        self.publish();
        Ok(())
    }

    async fn revive(&mut self, pod: &str, journal: &EventLog) -> Result<(), Trouble> {
        let (number, _) = self.pod(pod)?;
        // As a container that is started again: the same name and address.
        let port = self.gateway.pods_port;
        let process = start_pod(&self.block, number, Some(port), &self.settings).await?;
        self.pods.insert(number, Pod { process: Some(process), listed: true });
        journal.note(What::Ready, pod);
        self.publish();
        Ok(())
    }

    async fn freeze(&mut self, pod: &str, journal: &EventLog) -> Result<(), Trouble> {
        journal.note(What::Frozen, pod);
        self.process(pod)?.signal(Signal::STOP)
    }

    async fn thaw(&mut self, pod: &str, journal: &EventLog) -> Result<(), Trouble> {
        journal.note(What::Thawed, pod);
        self.process(pod)?.signal(Signal::CONT)
    }

    async fn scale(&mut self, pods: u16, journal: &EventLog) -> Result<(), Trouble> {
        while self.pods.len() < pods.into() {
            self.add(journal).await?;
        }
        while self.pods.len() > pods.into() {
            let newest = self.pods.last_key_value().map(|(number, _)| *number);
            newest.map_or(Ok(()), |newest| self.stop(newest, journal))?;
        }
        Ok(())
    }

    async fn restart(&mut self, journal: &EventLog) -> Result<(), Trouble> {
        let old: Vec<_> = self.pods.keys().copied().collect();
        for number in old {
            self.add(journal).await?;
            sleep(MIN_READY).await;
            self.stop(number, journal)?;
        }
        while let Some(ended) = self.draining.join_next().await {
            ended.map_err(|error| Trouble(error.to_string()))??;
        }
        Ok(())
    }

    async fn dns(&mut self, conduct: Conduct, journal: &EventLog) -> Result<(), Trouble> {
        journal.note_all(match conduct {
            Conduct::Answer => What::DnsAnswers,
            Conduct::Fail => What::DnsFails,
            Conduct::Silent => What::DnsSilent,
            Conduct::Lossy => What::DnsLossy,
        });
        self.dns.zone().set_conduct(conduct);
        Ok(())
    }

    async fn put_back(&mut self) -> Result<(), Trouble> {
        // Dropped, a process is killed, drained or not.
        self.draining.shutdown().await;
        let pods = std::mem::take(&mut self.pods).into_values().filter_map(|pod| pod.process);
        let pods = pods.chain(self.http.take());
        let ended = futures_util::future::join_all(pods.map(Process::end)).await;
        self.gateway.end().await?;
        ended.into_iter().collect()
    }
}
