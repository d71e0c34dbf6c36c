//! Each scenario, and that the gateway's default channel loses no call.

use serde_json::Value;

use super::result;

/// Returns the events, each with its kind and its pod.
fn events(result: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events = result["events"].as_array().unwrap().iter();
    events.map(|event| (text(&event["what"]), text(&event["pod"]))).collect()
}

fn count(result: &Value, what: &str) -> usize {
    events(result).iter().filter(|event| event.0 == what).count()
}

/// Asserts that no call failed, and that `found` pods became ready and got calls.
fn harmless(result: &Value, found: usize) {
    assert_eq!(result["load"]["errors"], Value::Array(Vec::new()), "{result}");
    let pods = result["found"].as_array().unwrap();
    assert_eq!(pods.len(), found, "{result}");
    for pod in pods {
        assert!(pod["discovery"].is_f64(), "{result}");
    }
}

/// Returns the result of a drill at a rate that a busy machine can keep up with: calls that wait for a processor would time
/// out at the gateway.
async fn slow(arguments: &[&str]) -> Value {
    result(&[arguments, &["--rate", "50"]].concat()).await
}

#[tokio::test]
async fn kill_loses_a_pod_that_returns() {
    let result = slow(&["kill"]).await;
    harmless(&result, 1);
    assert_eq!((&result["schema"], &result["on"]), (&"kubetester.drill/1".into(), &"demo".into()));
    let events = events(&result);
    let what: Vec<_> = events.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(what, ["killed", "ready"]);
    assert_eq!(events[0].1, events[1].1, "the killed pod is back");
    assert!(result["lost"][0]["last_answer_at"].is_f64(), "{result}");
    let verdict = result["verdict"].as_str().unwrap();
    assert!(
        verdict.starts_with("no call of ") && verdict.contains("; the new pod got its first call "),
        "{verdict}"
    );
    assert_eq!(result["notes"], result["load"]["notes"]);
}

#[tokio::test]
async fn freeze_stops_and_resumes_a_pod() {
    // The pod may be left out for longer than it was frozen, so this short drill does not wait for its next call.
    let result = slow(&["freeze", "--patience", "100ms"]).await;
    assert_eq!(result["load"]["errors"], Value::Array(Vec::new()), "{result}");
    let events = events(&result);
    let what: Vec<_> = events.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(what, ["frozen", "thawed"]);
    let lost = &result["lost"][0];
    assert!(lost["last_answer_at"].as_f64() < result["events"][1]["at"].as_f64(), "{result}");
}

#[tokio::test]
async fn restart_replaces_every_pod() {
    let result = slow(&["restart", "--pods", "2"]).await;
    harmless(&result, 2);
    let what: Vec<_> = events(&result).into_iter().collect();
    let expected = [("ready", 3), ("stopping", 1), ("ready", 4), ("stopping", 2)];
    assert_eq!(what, expected.map(|(what, pod)| (what.to_owned(), format!("hellogrpc-{pod}"))));
    assert_eq!(result["load"]["balance"]["pods"], 4);
}

#[tokio::test]
async fn scale_adds_and_removes_pods() {
    let more = slow(&["scale", "4", "--pods", "2"]).await;
    harmless(&more, 2);
    assert_eq!((count(&more, "ready"), count(&more, "stopping")), (2, 0));
    let fewer = slow(&["scale", "1", "--pods", "3"]).await;
    harmless(&fewer, 0);
    assert_eq!((count(&fewer, "ready"), count(&fewer, "stopping")), (0, 2));
}

#[tokio::test]
async fn dns_outage_kills_a_pod_meanwhile() {
    let result = result(&["dns-outage"]).await;
    harmless(&result, 1);
    let what: Vec<_> = events(&result).into_iter().map(|(what, _)| what).collect();
    assert_eq!(what, ["dns_fails", "killed", "dns_silent", "ready", "dns_lossy", "dns_answers"]);
    let paths = result["paths"].as_array().unwrap();
    assert_eq!([&paths[0]["path"], &paths[1]["path"]], ["/hellogrpc", "/hellohttp"]);
    for path in paths {
        assert!(path["calls"].as_u64().unwrap() > 100, "{path}");
        assert_eq!(path["failed"], 0, "{result}");
    }
    let verdict = result["verdict"].as_str().unwrap();
    assert!(verdict.contains(" calls to /hellogrpc, 0 of "), "{verdict}");
}
