//! Ctrl-C ends a load, which prints the result of the part that ran.

use std::{process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use service::testing::bounded;
use tokio::{process::Command, time::sleep};

use super::{TOOL, servers::Diary};

/// Returns the exit code and the document of a load that is interrupted after some calls.
async fn interrupted(arguments: &[&str]) -> (Option<i32>, Value) {
    let diary = Diary::default();
    let url = format!("http://{}/a", diary.address().await);
    let mut tool = Command::new(TOOL);
    tool.args(["load", &url, "--duration", "1h", "-c", "1", "--json"]).args(arguments);
    let child = tool.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    bounded(async {
        while diary.read().len() < 20 {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    kill_process(Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap(), Signal::INT).unwrap();
    let output = bounded(child.wait_with_output()).await.unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

#[tokio::test]
async fn interrupted_load_is_reported_with_exit_code_130() {
    let (code, result) = interrupted(&[]).await;
    assert_eq!((code, &result["interrupted"]), (Some(130), &Value::Bool(true)));
    assert_eq!(result["findings"][0]["kind"], "interrupted");
}

#[tokio::test]
async fn expectations_of_an_interrupted_load_are_partial() {
    let (code, result) = interrupted(&["--max-errors", "0"]).await;
    let checked = &result["expectations"][0];
    assert_eq!((code, &checked["held"], &checked["partial"]), (Some(130), &true.into(), &true.into()));
    let (code, result) = interrupted(&["--expect-pods", "2"]).await;
    let checked = &result["expectations"][0];
    assert_eq!((code, &checked["held"], &checked["partial"]), (Some(1), &false.into(), &true.into()));
}
