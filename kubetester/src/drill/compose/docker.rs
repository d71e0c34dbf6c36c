//! Runs the command lines of Docker and of compose, versions 1 and 2.

use std::{
    net::SocketAddr,
    process::{Output, Stdio},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Deserialize;
use serde_json::Value;
use tokio::{process::Command, sync::Mutex, time::timeout};

use crate::drill::{
    event_log::{EventKind, EventLog},
    platform::PlatformError,
};

/// The timeout of a command. Stopping a container may take its whole grace period.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(120);

/// Runs commands one at a time. Each runs to its end even if its future is dropped, because an aborted command would
/// leave an unknown state.
pub(super) struct Docker {
    compose: Vec<String>,
    lock: Arc<Mutex<()>>,
}

/// A running container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    pub(super) id: String,
    /// The hostname, which is the pod's name in answers.
    pub(super) name: String,
    pub(super) paused: bool,
}

/// A line of `docker events`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEvent {
    action: String,
    actor: Actor,
    #[serde(rename = "timeNano")]
    nanos: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    attributes: Value,
}

// === impl Docker ===

impl Docker {
    /// Uses the given compose command, or else the installed one.
    pub(super) async fn find(command: Option<&str>) -> Result<Self, PlatformError> {
        let words = |command: &str| command.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let candidates = match command {
            Some(command) => vec![words(command)],
            None => vec![words("docker compose"), words("docker-compose")],
        };
        let mut why = String::new();
        for compose in candidates {
            let docker = Self { compose, lock: Arc::default() };
            match docker.compose(&["version"]).await {
                Ok(_) => return Ok(docker),
                Err(PlatformError(failed)) => why = failed,
            }
        }
        Err(PlatformError(format!(
            "no compose command works; name one with --compose. The last one tried: {why}"
        )))
    }

    pub(super) fn compose_command(&self) -> String {
        self.compose.join(" ")
    }

    /// Runs a compose command.
    pub(super) async fn compose(&self, arguments: &[&str]) -> Result<String, PlatformError> {
        let words = self.compose.iter().map(String::as_str).chain(arguments.iter().copied());
        self.command(words.map(str::to_owned).collect()).await
    }

    /// Runs a Docker command.
    pub(super) async fn run(&self, arguments: &[&str]) -> Result<String, PlatformError> {
        let words = ["docker"].into_iter().chain(arguments.iter().copied());
        self.command(words.map(str::to_owned).collect()).await
    }

    async fn command(&self, words: Vec<String>) -> Result<String, PlatformError> {
        let line = words.join(" ");
        let failed = |why: &dyn std::fmt::Display| PlatformError::new(format_args!("{line} failed"), why);
        let (program, arguments) = words.split_first().ok_or_else(|| failed(&"it is empty"))?;
        let mut command = Command::new(program);
        // A new process group, so that Ctrl-C reaches only this process, which restores the system.
        command.args(arguments).stdin(Stdio::null()).process_group(0).kill_on_drop(true);
        let lock = self.lock.clone();
        let ended = tokio::spawn(async move {
            let _guard = lock.lock().await;
            timeout(COMMAND_TIMEOUT, command.output()).await
        });
        match ended.await {
            Ok(Ok(Ok(Output { status, stdout, .. }))) if status.success() => {
                Ok(String::from_utf8_lossy(&stdout).into_owned())
            }
            Ok(Ok(Ok(Output { status, stderr, .. }))) => {
                let stderr = String::from_utf8_lossy(&stderr);
                // The last line has the cause.
                let last = stderr.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned);
                Err(failed(&last.unwrap_or_else(|| status.to_string())))
            }
            Ok(Ok(Err(error))) => Err(failed(&error)),
            Ok(Err(_)) => Err(failed(&format_args!("it has not ended after {COMMAND_TIMEOUT:?}"))),
            Err(panic) => Err(failed(&panic)),
        }
    }

    /// Returns the running containers of a service, including paused ones.
    pub(super) async fn running(&self, service: &str) -> Result<Vec<Container>, PlatformError> {
        let listed = self.compose(&["ps", "-q", service]).await?;
        let ids: Vec<_> = listed.split_whitespace().collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let inspected = self.run(&[&["inspect"], &ids[..]].concat()).await?;
        let document: Vec<Value> = serde_json::from_str(&inspected)
            .map_err(|error| PlatformError::new("docker inspect printed invalid JSON", error))?;
        let container = |one: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (one["State"]["Running"] == true).then(|| Container {
                id: text(&one["Id"]),
                name: text(&one["Config"]["Hostname"]),
                paused: one["State"]["Paused"] == true,
            })
        };
        Ok(document.iter().filter_map(container).collect())
    }

    /// Returns the state of a container's health check, empty if it has none.
    pub(super) async fn health(&self, id: &str) -> Result<String, PlatformError> {
        let format = "{{if .State.Health}}{{.State.Health.Status}}{{end}}";
        Ok(self.run(&["inspect", "--format", format, id]).await?.trim().to_owned())
    }

    /// Returns the address of the first port that a service publishes on this machine.
    pub(super) async fn published(&self, service: &str) -> Result<SocketAddr, PlatformError> {
        let unpublished = |why: &dyn std::fmt::Display| {
            PlatformError(format!(
                "the service {service} publishes no port ({why}); name what to call with --target"
            ))
        };
        let running = self.running(service).await.map_err(|error| unpublished(&error))?;
        let container = running.first().ok_or_else(|| unpublished(&"it does not run"))?;
        let ports = self.run(&["port", &container.id]).await?;
        // `8200/tcp -> 0.0.0.0:8200`
        let address = ports.lines().find_map(|line| line.rsplit_once("-> ")?.1.trim().parse().ok());
        address.ok_or_else(|| unpublished(&"docker port lists none"))
    }

    /// Records the events of containers since a time, as reported by Docker.
    pub(super) async fn record_events(
        &self,
        since: SystemTime,
        containers: &[Container],
        event_log: &EventLog,
    ) -> Result<(), PlatformError> {
        let (since, until) = (unix(since), unix(SystemTime::now()));
        let only = ["kill", "start", "pause", "unpause"].map(|event| format!("event={event}"));
        let mut arguments = vec!["events", "--since", &since, "--until", &until, "--format", "{{json .}}"];
        arguments.extend(["--filter", "type=container"]);
        arguments.extend(only.iter().flat_map(|event| ["--filter", event]));
        for line in self.run(&arguments).await?.lines() {
            let Ok(DockerEvent { action, actor, nanos }) = serde_json::from_str(line) else { continue };
            let Some(container) = containers.iter().find(|container| container.id == actor.id) else {
                continue;
            };
            let what = match (action.as_str(), actor.attributes["signal"].as_str()) {
                ("start", _) => EventKind::Ready,
                ("pause", _) => EventKind::Frozen,
                ("unpause", _) => EventKind::Thawed,
                ("kill", Some("9")) => EventKind::Killed,
                ("kill", _) => EventKind::Stopping,
                _ => continue,
            };
            event_log.record_at(UNIX_EPOCH + Duration::from_nanos(nanos), what, &container.name);
        }
        Ok(())
    }
}

/// Formats a time in seconds since 1970 for `docker events`.
fn unix(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}
