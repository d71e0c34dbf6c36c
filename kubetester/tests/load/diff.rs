//! `kubetester diff`: finds the figures that have become worse.

use std::{fs, path::Path, time::Duration};

use axum::{Router, extract::State, routing::get};
use serde_json::Value;
use service::testing::{Exit, exit_of};
use tokio::{net::TcpListener, time::sleep};

use super::{TOOL, load, schema::check};

/// Starts a server whose every tenth answer takes `tail`.
async fn slow(tail: Duration) -> String {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };
    let turn = Arc::new(AtomicU64::new(0));
    let answer = move |State(turn): State<Arc<AtomicU64>>| async move {
        if turn.fetch_add(1, Ordering::Relaxed) % 10 == 9 {
            sleep(tail).await;
        }
        "{\"hostname\":\"pod-a\"}"
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new().route("/", get(answer)).with_state(turn);
    tokio::spawn(async { axum::serve(listener, router).await });
    url
}

async fn saved(folder: &Path, name: &str, url: &str) -> String {
    let exit = load(url, &["-n", "200", "-c", "1", "--json"]).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    let path = folder.join(name);
    fs::write(&path, exit.stdout).unwrap();
    path.to_str().unwrap().to_owned()
}

async fn diff(arguments: &[&str]) -> Exit {
    exit_of(TOOL, &[&["diff"], arguments].concat(), &[]).await
}

#[tokio::test]
async fn regression_is_found_and_the_same_result_passes() {
    let folder = tempfile::tempdir().unwrap();
    // Far apart, so that a busy machine does not hide the difference.
    let before = saved(folder.path(), "before.json", &slow(Duration::from_millis(50)).await).await;
    let after = saved(folder.path(), "after.json", &slow(Duration::from_millis(500)).await).await;

    let same = diff(&[&before, &before]).await;
    assert_eq!((same.code, same.stderr.as_str()), (Some(0), ""), "{same:?}");
    assert!(same.stdout.contains("no figure has become worse"), "{}", same.stdout);

    let worse = diff(&[&before, &after, "--latency", "20%"]).await;
    assert_eq!(worse.code, Some(1), "{worse:?}");
    let row = worse.stdout.lines().find(|line| line.trim_start().starts_with("p99")).unwrap();
    assert!(row.trim_end().ends_with("worse"), "{}", worse.stdout);
    let json = diff(&[&before, &after, "--json"]).await;
    check("kubetester.diff-1", &json.stdout);
    let document: Value = serde_json::from_str(&json.stdout).unwrap();
    let p99 = &document["targets"][0]["figures"][2];
    assert_eq!((&p99["figure"], &p99["worse"]), (&"p99".into(), &true.into()));

    // A threshold may be wide.
    let wide = ["--latency", "10000%", "--rate", "100%"];
    assert_eq!(diff(&[&[before.as_str(), &after][..], &wide].concat()).await.code, Some(0));
}

#[tokio::test]
async fn files_that_cannot_be_compared_are_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    fs::write(&text, "hello").unwrap();
    let text = text.to_str().unwrap();
    for (arguments, code, words) in [
        (&["/nowhere.json", text][..], 3, "cannot read /nowhere.json: No such file"),
        (&[text, text], 3, "it is not JSON"),
        (&[text], 2, "AFTER.json"),
        (&[text, text, "--latency", "much"], 2, "not a share"),
    ] {
        let exit = diff(arguments).await;
        assert_eq!((exit.code, exit.stdout.as_str()), (Some(code), ""), "{arguments:?}: {exit:?}");
        assert!(exit.stderr.contains(words), "{arguments:?}: {}", exit.stderr);
    }
}
