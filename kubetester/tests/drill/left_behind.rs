//! All processes of a drill end with it, however the drill ends.

use std::{fs, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use service::testing::bounded;
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use super::TOOL;

/// Starts `kubetester drill`.
pub(super) fn start(arguments: &[&str]) -> Child {
    Command::new(TOOL)
        .arg("drill")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Starts a drill and waits until it has `programs` child processes, and one of them is stopped if `frozen`.
async fn start_until(arguments: &[&str], programs: usize, frozen: bool) -> (Child, Vec<u32>) {
    let tool = start(arguments);
    let parent = tool.id().unwrap();
    let mut children = Vec::new();
    bounded(async {
        while children.len() < programs || frozen && !children.iter().any(|child| state(*child) == Some('T'))
        {
            sleep(Duration::from_millis(10)).await;
            children = children_of(parent);
        }
    })
    .await;
    (tool, children)
}

pub(super) fn children_of(parent: u32) -> Vec<u32> {
    // The process may have ended.
    let threads = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten();
    let children = threads.flat_map(|thread| {
        let children = fs::read_to_string(thread.unwrap().path().join("children")).unwrap_or_default();
        children.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()
    });
    children.collect()
}

/// Returns the state of a process, such as R, S or T (see proc(5)); `None` if it has ended.
pub(super) fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Waits until all processes have ended.
pub(super) async fn gone(children: &[u32]) {
    bounded(async {
        while children.iter().any(|child| !matches!(state(*child), None | Some('Z'))) {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

pub(super) fn send(tool: &Child, signal: Signal) {
    kill_process(Pid::from_raw(tool.id().unwrap().try_into().unwrap()).unwrap(), signal).unwrap();
}

#[tokio::test]
async fn ctrl_c_or_sigterm_leaves_no_process() {
    for (signal, scenario, frozen) in [(Signal::INT, "freeze", true), (Signal::TERM, "kill", false)] {
        let arguments = [scenario, "--steady", "200ms", "--outage", "1m"];
        let (tool, children) = start_until(&arguments, 4, frozen).await;
        send(&tool, signal);
        let output = bounded(tool.wait_with_output()).await.unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("interrupted before the drill was over"), "{stderr}");
        gone(&children).await;
    }
}

#[tokio::test]
async fn killed_drill_leaves_no_process() {
    let (tool, children) = start_until(&["freeze", "--steady", "200ms", "--outage", "1m"], 4, true).await;
    send(&tool, Signal::KILL);
    bounded(tool.wait_with_output()).await.unwrap();
    gone(&children).await;
}

#[tokio::test]
async fn drill_without_answers_leaves_no_process() {
    // The gateway has no such path.
    let arguments =
        ["kill", "--pods", "2", "--steady", "200ms", "--patience", "200ms", "--target", "/nowhere"];
    let (tool, children) = start_until(&arguments, 1, false).await;
    let output = bounded(tool.wait_with_output()).await.unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    gone(&children).await;
}
