//! A running compose project as the platform of a drill, controlled by Docker's command line.
//!
//! A pod is a container of one service. Compose has no readiness and no rolling restarts. A container counts as ready
//! when it starts, because its address is in Docker's DNS from its start to its end. A restart stops and starts one
//! container after the other, and waits until each is healthy. The times of events come from Docker.

mod docker;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use self::docker::{Container, Docker};
use super::{
    event_log::EventLog,
    platform::{DrillTarget, Platform, PlatformError, ResponseMode},
};
use crate::target::{Endpoint, Target};

/// The maximum time for a started container to become healthy.
const HEALTHY_TIMEOUT: Duration = Duration::from_secs(60);
/// The wait for a container without a health check. It is longer than the 2 s between DNS lookups.
const NO_HEALTH_CHECK_WAIT: Duration = Duration::from_secs(3);
/// The interval between health queries.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// A running compose project.
pub struct Compose {
    docker: Docker,
    settings: Settings,
    /// The containers that were running when the drill started.
    before: Vec<Container>,
    /// True if the number of containers may have changed.
    scaled: bool,
}

/// The command, and the services to drill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The compose command, with its options; `None` for `docker compose`, or else `docker-compose`.
    pub command: Option<String>,
    /// The service whose containers are the pods.
    pub service: String,
    /// The service of the gateway.
    pub gateway: String,
}

// === impl Compose ===

impl Compose {
    /// Finds the project's containers.
    ///
    /// # Errors
    ///
    /// Fails if compose is not installed, or if no container of the service is running.
    pub async fn find(settings: Settings) -> Result<Self, PlatformError> {
        let docker = Docker::find(settings.command.as_deref()).await?;
        let before = docker.running(&settings.service).await?;
        if before.is_empty() {
            let compose = docker.compose_command();
            let why =
                format!("start the project with {compose} up -d, or name another service with --service");
            return Err(PlatformError::new(format_args!("no container of {} runs", settings.service), why));
        }
        if let Some(paused) = before.iter().find(|container| container.paused) {
            let name = &paused.name;
            return Err(PlatformError(format!("{name} is paused; unpause it before the drill")));
        }
        Ok(Self { docker, settings, before, scaled: false })
    }

    /// Returns the running container whose answers have this name.
    async fn container(&self, pod: &str) -> Result<Container, PlatformError> {
        let known = self.before.iter().find(|container| container.name == pod);
        if let Some(known) = known {
            return Ok(known.clone());
        }
        let running = self.docker.running(&self.settings.service).await?;
        let found = running.into_iter().find(|container| container.name == pod);
        found.ok_or_else(|| {
            PlatformError(format!("no container of {} is called {pod}", self.settings.service))
        })
    }

    /// Runs a command on a container, and records the resulting events from Docker.
    async fn run_and_record(
        &self,
        command: &[&str],
        pod: &str,
        event_log: &EventLog,
    ) -> Result<(), PlatformError> {
        let container = self.container(pod).await?;
        let since = SystemTime::now();
        self.docker.run(&[command, &[&container.id]].concat()).await?;
        self.docker.record_events(since, &[container], event_log).await
    }

    async fn scale_to(&mut self, pods: usize) -> Result<(), PlatformError> {
        self.scaled = true;
        let scale = format!("{}={pods}", self.settings.service);
        let service = &self.settings.service;
        self.docker.compose(&["up", "-d", "--no-recreate", "--no-deps", "--scale", &scale, service]).await?;
        Ok(())
    }

    async fn wait_until_healthy(&self, pod: &str) -> Result<(), PlatformError> {
        let until = Instant::now() + HEALTHY_TIMEOUT;
        loop {
            let container = self.container(pod).await?;
            match self.docker.health(&container.id).await?.as_str() {
                "healthy" => return Ok(()),
                "" => {
                    sleep(NO_HEALTH_CHECK_WAIT).await;
                    return Ok(());
                }
                _ if Instant::now() < until => sleep(POLL_INTERVAL).await,
                health => {
                    return Err(PlatformError(format!(
                        "{pod} was started again and is {health} after {HEALTHY_TIMEOUT:?}"
                    )));
                }
            }
        }
    }
}

#[async_trait]
impl Platform for Compose {
    fn name(&self) -> &'static str {
        "compose"
    }

    async fn target(&mut self, drill_target: &DrillTarget) -> Result<Target, PlatformError> {
        match drill_target {
            DrillTarget::Target(target) => Ok(target.clone()),
            DrillTarget::Direct | DrillTarget::Tonic => Err(PlatformError(
                "the pods' names and addresses exist only in Docker's network; give a --target that is reachable from \
                 here"
                    .to_owned(),
            )),
            DrillTarget::Gateway(path) => {
                let published = self.docker.published(&self.settings.gateway).await?;
                let ip = match published.ip() {
                    IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                    IpAddr::V6(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                    ip => ip,
                };
                let at = SocketAddr::new(ip, published.port());
                let path = path.clone();
                Ok(Target::Http(Endpoint { host: at.ip().to_string(), port: at.port(), path, tls: false }))
            }
        }
    }

    async fn pods(&mut self) -> Result<Vec<String>, PlatformError> {
        let running = self.docker.running(&self.settings.service).await?;
        Ok(running.into_iter().map(|container| container.name).collect())
    }

    async fn kill(&mut self, pod: &str, event_log: &EventLog) -> Result<(), PlatformError> {
        self.run_and_record(&["kill", "--signal", "KILL"], pod, event_log).await
    }

    async fn revive(&mut self, pod: &str, event_log: &EventLog) -> Result<(), PlatformError> {
        self.run_and_record(&["start"], pod, event_log).await
    }

    async fn freeze(&mut self, pod: &str, event_log: &EventLog) -> Result<(), PlatformError> {
        self.run_and_record(&["pause"], pod, event_log).await
    }

    async fn thaw(&mut self, pod: &str, event_log: &EventLog) -> Result<(), PlatformError> {
        self.run_and_record(&["unpause"], pod, event_log).await
    }

    async fn scale(&mut self, pods: u16, event_log: &EventLog) -> Result<(), PlatformError> {
        let since = SystemTime::now();
        self.scale_to(pods.into()).await?;
        let mut seen = self.docker.running(&self.settings.service).await?;
        seen.extend(self.before.iter().cloned());
        self.docker.record_events(since, &seen, event_log).await
    }

    async fn restart(&mut self, event_log: &EventLog) -> Result<(), PlatformError> {
        for pod in self.pods().await? {
            // Without a timeout, the service's stop_grace_period applies.
            self.run_and_record(&["stop"], &pod, event_log).await?;
            self.run_and_record(&["start"], &pod, event_log).await?;
            self.wait_until_healthy(&pod).await?;
        }
        Ok(())
    }

    async fn set_dns_mode(&mut self, _: ResponseMode, _: &EventLog) -> Result<(), PlatformError> {
        Err(PlatformError(
            "Docker's DNS server cannot be told to fail; run this drill on the demo".to_owned(),
        ))
    }

    async fn restore(&mut self) -> Result<(), PlatformError> {
        let mut errors = Vec::new();
        let now = self.docker.running(&self.settings.service).await?;
        for container in &self.before {
            let command = match now.iter().find(|one| one.id == container.id) {
                Some(one) if one.paused => "unpause",
                Some(_) => continue,
                // A container that was removed by scaling down cannot be restored.
                None if self.scaled => continue,
                None => "start",
            };
            errors.extend(self.docker.run(&[command, &container.id]).await.err());
        }
        if self.scaled {
            errors.extend(self.scale_to(self.before.len()).await.err());
        }
        errors.into_iter().next().map_or(Ok(()), Err)
    }
}
