//! The tool's counts match those of the servers.

use std::time::Duration;

use serde_json::Value;

use super::{
    load, result,
    servers::{Draws, stalling},
};

const WEIGHTS: [(&str, u32); 3] = [("pod-a", 60), ("pod-b", 30), ("pod-c", 10)];

#[tokio::test]
async fn counts_match_those_of_the_server() {
    let draws = Draws::new(&WEIGHTS, 20);
    let result = result(&draws.url().await, &["-n", "1000", "-c", "8"]).await;
    assert_eq!(result["schema"], "kubetester.load/1");
    assert_eq!(result["calls"], 1000);
    let counts = draws.counts();
    for pod in result["pods"].as_array().unwrap() {
        let (answered, refused) = counts[pod["name"].as_str().unwrap()];
        assert_eq!((pod["calls"].as_u64(), pod["errors"].as_u64()), (Some(answered), Some(refused)), "{pod}");
    }
    assert_eq!(result["pods"].as_array().unwrap().len(), counts.len());
    let failed: u64 = counts.values().map(|(_, refused)| refused).sum();
    assert_eq!(result["failed"], failed);
    assert_eq!(result["errors"][0]["cause"], "HTTP 500 Internal Server Error");
    assert_eq!(result["balance"]["spread"], "uneven");
    let kinds: Vec<_> = result["findings"].as_array().unwrap().iter().map(|one| &one["kind"]).collect();
    assert_eq!(kinds, ["failures", "uneven"]);
    assert!(result["balance"]["p_value"].as_f64().unwrap() < 1e-9);
}

#[tokio::test]
async fn pod_is_found_at_the_given_place() {
    let draws = Draws::new(&WEIGHTS, 0);
    let url = draws.url().await;
    for place in ["header:x-pod", "/hostname", "regex:(pod-.)"] {
        let result = result(&url, &["-n", "100", "-c", "2", "--pod-from", place]).await;
        assert_eq!(result["balance"]["pods"], 3, "{place}");
    }
    let peer = result(&url, &["-n", "10", "--pod-from", "peer"]).await;
    assert_eq!(format!("http://{}/", peer["pods"][0]["name"].as_str().unwrap()), url);
    assert_eq!(peer["findings"][0]["kind"], "too-few-calls");
    let peer = result(&url, &["-n", "20", "--pod-from", "peer"]).await;
    assert_eq!(peer["findings"][0]["kind"], "one-peer");
    let absent = result(&url, &["-n", "10", "--pod-from", "header:absent"]).await;
    assert_eq!((&absent["unnamed"], &absent["balance"]["spread"]), (&10.into(), &"unknown".into()));
}

#[tokio::test]
async fn stall_of_the_server_shows_in_p99_of_an_open_loop() {
    let url = stalling(Duration::from_secs(2), Duration::from_millis(200)).await;
    let result = result(&url, &["--rate", "2000", "--duration", "10s", "-c", "32"]).await;
    let calls = result["calls"].as_u64().unwrap();
    assert!((19_800..=20_200).contains(&calls), "{calls} calls are not 20 000 +-1 %");
    assert_eq!(result["schedule"]["unsent"], 0);
    // 400 calls, 2 % of all, came due during the stall. The first of them waited for all of it, the last hardly at all,
    // so half of them, 1 % of all calls, waited for at least 100 ms. A closed loop would have made 32 slow calls, one
    // per caller, and p99 would hide them.
    let latency = &result["latency"];
    assert!(latency["p99"].as_f64().unwrap() >= 0.098, "{latency}");
    assert!(latency["max"].as_f64().unwrap() >= 0.198, "{latency}");
}

#[tokio::test]
async fn details_add_up_to_the_whole() {
    let draws = Draws::new(&WEIGHTS, 20);
    let url = draws.url().await;
    let result = result(&url, &["-n", "1000", "-c", "8", "--details"]).await;
    let sum = |list: &Value| list.as_array().unwrap().iter().map(|one| one.as_u64().unwrap()).sum::<u64>();
    let over_time = &result["over_time"];
    assert_eq!(
        [sum(&over_time["succeeded"]), sum(&over_time["failed"])],
        ["succeeded", "failed"].map(|count| result[count].as_u64().unwrap())
    );
    for (pod, whole) in over_time["pods"].as_array().unwrap().iter().zip(result["pods"].as_array().unwrap()) {
        assert_eq!((&pod["name"], sum(&pod["calls"])), (&whole["name"], whole["calls"].as_u64().unwrap()));
    }
    let bins = result["histogram"].as_array().unwrap();
    assert_eq!(
        bins.iter().map(|bin| bin["calls"].as_u64()).sum::<Option<u64>>(),
        result["succeeded"].as_u64()
    );

    let exit = load(&url, &["-n", "1", "--details"]).await;
    assert_eq!(exit.code, Some(2), "{exit:?}");
    assert!(exit.stderr.contains("--json"), "{exit:?}");
}

#[tokio::test]
async fn many_pods_are_cut_to_the_busiest() {
    let names = (0..100).map(|number| (&*format!("pod-{number}").leak(), 1)).collect::<Vec<_>>();
    let exit = load(&Draws::new(&names, 0).url().await, &["-n", "4000"]).await;
    let shown = exit.stdout.lines().filter(|line| line.starts_with(" pod-")).count();
    assert!(shown == 40 && exit.stdout.contains(" and 60 more pods, with "), "{}", exit.stdout);
}

#[tokio::test]
async fn control_characters_in_pod_names_are_replaced() {
    let draws = Draws::new(&[("pod\\u001b[2J\\u202e", 100)], 0);
    let exit = load(&draws.url().await, &["-n", "10", "--pod-from", "/hostname"]).await;
    assert!(exit.stdout.contains("pod\u{fffd}[2J\u{fffd}"), "{}", exit.stdout);
}

#[tokio::test]
async fn text_output_has_pods_bars_and_a_verdict() {
    let draws = Draws::new(&[("pod-a", 100)], 0);
    let exit = load(&draws.url().await, &["-n", "1200"]).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    for words in ["1 200 calls", "pod-a", "100.0 %", "█████", "p99", "one pod took every call"] {
        assert!(exit.stdout.contains(words), "{words} is not in\n{}", exit.stdout);
    }
    assert!(!exit.stdout.contains('\u{1b}'), "a pipe has no colours");
}
