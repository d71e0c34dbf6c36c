//! A drill on a compose project, with a stand-in for Docker that records its arguments: checks the commands, and that
//! the project is restored.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, routing::get};
use rustix::process::{Pid, Signal, kill_process};
use service::testing::{Exit, bounded, exit_of};
use tempfile::TempDir;
use tokio::{net::TcpListener, process::Command, time::sleep};

use super::{TIMES, TOOL};

const SCRIPT: &str = include_str!("docker.sh");

/// Three running containers, and a gateway whose answers name five pods in turn.
struct Project(TempDir);

impl Project {
    async fn new() -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        fs::create_dir(project.path("containers")).unwrap();
        fs::write(project.path("events"), "").unwrap();
        for container in 1..=3 {
            fs::write(project.path(&format!("containers/{container}")), "running\n").unwrap();
        }
        fs::write(project.path("docker"), SCRIPT).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(project.path("docker"), executable).unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        fs::write(project.path("port"), format!("8200/tcp -> 0.0.0.0:{}\n", address.port())).unwrap();
        let turn = Arc::new(AtomicUsize::new(0));
        let answer = move || {
            let pod = turn.fetch_add(1, Ordering::Relaxed) % 5 + 1;
            async move { format!(r#"{{"hostname":"pod-{pod}"}}"#) }
        };
        let router = Router::new().route("/hellogrpc", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        project
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn env(&self) -> [(&'static str, String); 2] {
        let path = self.0.path().to_str().unwrap();
        [("FAKE_DOCKER", path.to_owned()), ("PATH", format!("{path}:/usr/bin:/bin"))]
    }

    async fn drill(&self, arguments: &[&str]) -> Exit {
        let env = self.env();
        let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        exit_of(TOOL, &[&["drill", "--on", "compose"], arguments, &TIMES].concat(), &env).await
    }

    fn told(&self) -> Vec<String> {
        lines(&self.path("told"))
    }

    /// Returns the state of each container, in the order of their IDs.
    fn states(&self) -> Vec<String> {
        (1..=5).flat_map(|id| lines(&self.path(&format!("containers/{id}")))).collect()
    }
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn scenario_runs_docker_commands_and_restores_the_project() {
    let up = |pods| format!("up -d --no-recreate --no-deps --scale hellogrpc={pods} hellogrpc");
    for (scenario, told) in [
        (&["kill"][..], vec!["kill --signal KILL ID".to_owned(), "start ID".to_owned()]),
        (&["freeze"], vec!["pause ID".to_owned(), "unpause ID".to_owned()]),
        (&["scale", "5"], vec![up(5), up(3)]),
        (&["scale", "1"], vec![up(1), up(3)]),
        (&["restart"], ["stop", "start"].repeat(3).iter().map(|word| format!("{word} ID")).collect()),
    ] {
        let project = Project::new().await;
        let exit = project.drill(&[scenario, &["--max-errors", "0"]].concat()).await;
        assert_eq!(exit.code, Some(0), "{scenario:?}: {exit:?}");
        let without_id = |line: String| match line.rsplit_once(' ') {
            Some((words, id)) if id.len() == 1 => format!("{words} ID"),
            _ => line,
        };
        assert_eq!(project.told().into_iter().map(without_id).collect::<Vec<_>>(), told);
        assert_eq!(project.states(), ["running"; 3], "{scenario:?}");
    }
}

#[tokio::test]
async fn error_or_ctrl_c_restores_the_project() {
    let project = Project::new().await;
    fs::write(project.path("refuses"), "events\n").unwrap();
    let exit = project.drill(&["kill"]).await;
    assert_eq!(exit.code, Some(3), "{exit:?}");
    assert!(exit.stderr.contains("Error: events is refused"), "{}", exit.stderr);
    assert_eq!(project.states(), ["running"; 3], "{:?}", project.told());

    for (arguments, word) in [(&["freeze"][..], "pause"), (&["kill"], "kill"), (&["scale", "5"], "up")] {
        let project = Project::new().await;
        let tool = Command::new(TOOL)
            .args(
                [
                    &["drill", "--on", "compose", "--steady", "100ms", "--outage", "1m", "--settle", "1m"],
                    arguments,
                ]
                .concat(),
            )
            .env_clear()
            .envs(project.env())
            .kill_on_drop(true)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        bounded(async {
            while !project.told().iter().any(|told| told.starts_with(word)) {
                sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await;
        kill_process(Pid::from_raw(tool.id().unwrap().try_into().unwrap()).unwrap(), Signal::INT).unwrap();
        let output = bounded(tool.wait_with_output()).await.unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert_eq!(project.states(), ["running"; 3], "{arguments:?}: {:?}", project.told());
    }
}

#[tokio::test]
async fn failed_restore_is_reported() {
    let project = Project::new().await;
    fs::write(project.path("refuses"), "start\n").unwrap();
    let exit = project.drill(&["kill"]).await;
    assert_eq!(exit.code, Some(3), "{exit:?}");
    let said = "restoring the system failed: docker start ";
    assert!(exit.stderr.contains(said), "{}", exit.stderr);
}

#[tokio::test]
async fn stopped_project_is_one_sentence() {
    let project = Project::new().await;
    for container in 1..=3 {
        fs::write(project.path(&format!("containers/{container}")), "exited\n").unwrap();
    }
    let exit = project.drill(&["kill"]).await;
    assert_eq!((exit.code, exit.stderr.lines().count()), (Some(3), 1), "{exit:?}");
    assert!(exit.stderr.contains("start the project with docker compose up -d"), "{}", exit.stderr);
}

#[tokio::test]
async fn target_outside_the_project_is_an_error_before_any_change() {
    let project = Project::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new().route("/", get(async || r#"{"hostname":"elsewhere"}"#));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let exit = project.drill(&["kill", "--target", &url]).await;
    assert_eq!((exit.code, exit.stdout.as_str()), (Some(3), ""), "{exit:?}");
    for words in ["none of the drilled pods (pod-1, pod-2, pod-3) has answered", "came from elsewhere"] {
        assert!(exit.stderr.contains(words), "{}", exit.stderr);
    }
    assert_eq!(project.states(), ["running"; 3], "{:?}", project.told());
    assert!(!project.told().iter().any(|told| told.starts_with("kill")), "{:?}", project.told());
}
