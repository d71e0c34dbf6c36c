//! `kubetester compare`: the same load on each target, in rounds, and one table.

use std::{process::Stdio, time::Duration};

use kubetester::demo::{layout::Layout, system::System};
use serde_json::{Value, json};
use service::testing::{Exit, bounded};
use tokio::{net::TcpListener, process::Command, time::sleep};

use super::{
    TOOL, compare,
    servers::{Diary, Draws, nobody, saying},
};

fn document(exit: &Exit) -> Value {
    serde_json::from_str(&exit.stdout).unwrap_or_else(|error| panic!("{error}: {exit:?}"))
}

#[tokio::test]
async fn rounds_start_with_each_target_in_turn() {
    let diary = Diary::default();
    let address = diary.address().await;
    let urls = ["a", "b", "c"].map(|path| format!("http://{address}/{path}"));
    let targets = urls.each_ref().map(String::as_str);
    let exit = compare(&[&targets[..], &["-n", "7", "-c", "1", "--rounds", "3", "--json"]].concat()).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert_eq!(diary.read(), "aabbccbbccaacccaaabbb");
    let document = document(&exit);
    assert_eq!((&document["schema"], &document["rounds"]), (&json!("kubetester.compare/1"), &json!(3)));
    for (result, url) in document["results"].as_array().unwrap().iter().zip(&urls) {
        assert_eq!((&result["name"], &result["load"]["target"]), (&json!(url), &json!(url)));
        assert_eq!((&result["load"]["calls"], &result["load"]["pods"][0]["calls"]), (&json!(7), &json!(7)));
    }
}

#[tokio::test]
async fn few_calls_limit_the_rounds() {
    let diary = Diary::default();
    let address = diary.address().await;
    let targets = [format!("http://{address}/a"), format!("http://{address}/b")];
    let exit = compare(&[&targets[0], &targets[1], "-n", "2", "-c", "1", "--json"]).await;
    assert_eq!((document(&exit)["rounds"].clone(), diary.read()), (json!(2), "abba".to_owned()));
}

#[tokio::test]
async fn interrupt_shows_the_targets_that_were_called() {
    let diary = Diary::default();
    let address = diary.address().await;
    let targets = [format!("http://{address}/a"), format!("http://{address}/b")];
    let mut tool = Command::new(TOOL);
    tool.arg("compare").args(&targets).args(["--duration", "1h", "--rounds", "1", "-c", "1", "--json"]);
    let child = tool.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    bounded(async {
        while diary.read().is_empty() {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    let kill = Command::new("sh").arg("-c").arg(format!("kill -INT {}", child.id().unwrap())).status();
    assert!(bounded(kill).await.unwrap().success());
    let output = bounded(child.wait_with_output()).await.unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let results = document["results"].as_array().unwrap();
    assert_eq!((results.len(), &results[0]["name"], &document["rounds"]), (1, &json!(targets[0]), &json!(1)));
    let load = &results[0]["load"];
    assert_eq!((&load["interrupted"], &load["findings"][0]["kind"]), (&json!(true), &json!("interrupted")));
}

/// Starts the demo's system; returns it with the URL of its gateway.
async fn demo() -> (System, String) {
    let layout = Layout::bind(3, 1, true).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut system = System::start(layout, listener).await.unwrap();
    system.connected(Duration::from_secs(30)).await.unwrap();
    let url = format!("http://{}", system.gateway);
    (system, url)
}

#[tokio::test]
async fn routes_of_a_gateway_are_compared() {
    let (_demo, url) = demo().await;
    let arguments = ["--gateway", &url, "-n", "90", "-c", "4", "--rounds", "3"];
    let exit = compare(&[&arguments[..], &["--max-errors", "0", "--json"]].concat()).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    let document = document(&exit);
    let [turns, first, least] = &document["results"].as_array().unwrap()[..] else { panic!("{document}") };
    let names = [turns, first, least].map(|result| &result["name"]);
    assert_eq!(names, ["round_robin", "pick_first", "least_request"]);
    let calls: Vec<_> = turns["load"]["pods"].as_array().unwrap().iter().map(|pod| &pod["calls"]).collect();
    assert_eq!(calls, [30, 30, 30]);
    assert_eq!(first["load"]["balance"]["spread"], "one-pod");
    assert_eq!(first["load"]["findings"][0]["kind"], "one-pod");
    assert_eq!(least["load"]["balance"]["pods"], 3);
    let best = |result: &Value, figure| result["best"].as_array().unwrap().contains(&json!(figure));
    assert!(best(turns, "pods") && best(least, "pods") && !best(first, "pods"), "{document}");
    assert!(best(turns, "skew") && !best(first, "skew") && !best(turns, "failed"), "{document}");

    // Another target can be compared with the routes. Expectations are checked for each target.
    let more = format!("{url}/hellohttp");
    let exit = compare(&[&arguments[..], &[&more, "--max-skew", "9", "--max-errors", "0"]].concat()).await;
    assert_eq!(exit.code, Some(1), "{exit:?}");
    for words in [
        "4 targets, in turn, 3 rounds: 360 calls in ",
        "* the best of its column",
        "pick_first\n  one pod took every call: ",
        "held  round_robin  --max-skew: the busiest pod took 1.000 times",
        "failed  pick_first  --max-skew: only one pod was seen",
        "held  pick_first  --max-errors: 0 of 90 calls failed",
    ] {
        assert!(exit.stdout.contains(words), "{words} is not in\n{}", exit.stdout);
    }
    let row = |name| exit.stdout.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
    assert!(row("round_robin").contains(" 3* ") && row("round_robin").contains("1.000*"), "{}", exit.stdout);
    assert!(row("pick_first").contains(" 1  "), "{}", exit.stdout);
}

#[tokio::test]
async fn targets_that_cannot_be_compared_are_one_sentence() {
    let up = Draws::new(&[("pod-a", 100)], 0).url().await;
    let failing = Draws::new(&[("pod-a", 100)], 100).url().await;
    let nobody = format!("http://{}", nobody().await);
    let answer = |body: &str| {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).leak().as_bytes()
    };
    let other = format!("http://{}", saying(answer("{\"hello\": 1}")).await);
    let alone = format!("http://{}", saying(answer("{\"routes\": [{\"name\": \"default\"}]}")).await);
    for (arguments, code, words) in [
        (&[][..], 2, "<TARGET>"),
        (&[&*up], 2, "one target has nothing to be compared with"),
        (&[&*up, &*up, "--rounds", "0"], 2, "--rounds"),
        (&["--gateway", "dns:///gw:8200"], 2, "http://host:port"),
        (&[&*up, &*nobody], 3, "nothing listens there"),
        (&[&*up, &*failing], 3, "succeeded: HTTP 500"),
        (&["--gateway", &nobody], 3, "nothing listens there"),
        (&["--gateway", &up], 3, "does not list its routes as a helloserve does: HTTP 404"),
        (&["--gateway", &other], 3, "missing field `routes`"),
        (&["--gateway", &alone], 3, "the gateway has one route, default"),
    ] {
        let exit = compare(&[arguments, &["-n", "4", "-c", "2"]].concat()).await;
        assert_eq!(exit.code, Some(code), "{arguments:?}: {exit:?}");
        assert!(exit.stderr.contains(words), "{arguments:?}: {}", exit.stderr);
        if code == 3 {
            assert_eq!(exit.stderr.lines().count(), 1, "{arguments:?}: {}", exit.stderr);
        }
    }
}
