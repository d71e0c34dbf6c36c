//! Routes to gRPC backends, each with its own channel, policy and retries.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod harness;

use std::collections::BTreeMap;

use harness::{
    InProcess,
    client::{get, problem, upstream_failure},
    gateway,
    grpc_backend::{GrpcBackend, failing, grpc_backend, introduction},
    ipv4, refusing,
};
use serde_json::Value;
use service::testing::bounded;
use tonic::Status;
use tower::ServiceExt as _;

const RETRY: &str = r#"{"name":[{}],"retryPolicy":{"maxAttempts":3,"initialBackoff":"0.001s","maxBackoff":"0.001s","backoffMultiplier":1,"retryableStatusCodes":["UNAVAILABLE"]}}"#;

/// Starts a backend that responds with `name` as its hostname.
async fn pod(name: &'static str) -> GrpcBackend {
    grpc_backend(move |caller| Box::pin(async move { Ok(introduction(caller, name)) })).await
}

/// Returns the public state of a route.
async fn status(gateway: &InProcess, name: &str) -> Value {
    let answer = get(gateway.addr, "/routes").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let listed: Value = serde_json::from_str(&answer.body).unwrap();
    let routes = listed["routes"].as_array().unwrap();
    routes.iter().find(|route| route["name"] == name).unwrap_or_else(|| panic!("{listed}")).clone()
}

/// Waits until the route has `count` ready endpoints.
async fn ready(gateway: &InProcess, name: &str, count: usize) {
    bounded(async { while status(gateway, name).await["endpoints"]["ready"] != count {} }).await;
}

/// Sends 12 requests and counts the responses of each pod.
async fn responses_by_pod(gateway: &InProcess, via: &str) -> BTreeMap<String, usize> {
    let mut responses = BTreeMap::new();
    for _ in 0..12 {
        let answer = get(gateway.addr, &format!("/hellogrpc?name=Ann{via}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        *responses.entry(body["response"]["hostname"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    responses
}

#[tokio::test]
async fn request_takes_the_route_that_it_names() {
    let pods = [pod("pod-1").await, pod("pod-2").await, pod("pod-3").await, pod("other").await];
    let list: Vec<_> = pods[..3].iter().map(|pod| pod.addr.to_string()).collect();
    let gateway = gateway(|config| {
        config.grpc_target = format!("ipv4:{}", list.join(",")).parse().unwrap();
        let other = pods[3].target();
        config.grpc_routes = format!(
            r#"[{{"name":"pick_first","serviceConfig":{{"loadBalancingConfig":[{{"pick_first":{{}}}}]}}}},
                {{"name":"elsewhere & more","target":"{other}"}}]"#
        )
        .parse()
        .unwrap();
    })
    .await;
    for (route, count) in [("default", 3), ("pick_first", 1), ("elsewhere & more", 1)] {
        ready(&gateway, route, count).await;
    }
    let even = BTreeMap::from(["pod-1", "pod-2", "pod-3"].map(|pod| (pod.to_owned(), 4)));
    assert_eq!(responses_by_pod(&gateway, "").await, even);
    assert_eq!(responses_by_pod(&gateway, "&via=default").await, even);
    assert_eq!(
        responses_by_pod(&gateway, "&via=pick_first").await,
        BTreeMap::from([("pod-1".to_owned(), 12)])
    );
    let elsewhere = responses_by_pod(&gateway, "&via=elsewhere+%26%20more").await;
    assert_eq!(elsewhere, BTreeMap::from([("other".to_owned(), 12)]));

    let picked = status(&gateway, "pick_first").await;
    let expected =
        r#"{"name":"pick_first","policy":"pick_first","state":"READY","endpoints":{"ready":1,"total":3}}"#;
    assert_eq!(picked, serde_json::from_str::<Value>(expected).unwrap());

    let metrics = gateway.instance.metrics.render().unwrap();
    for (route, calls) in [("default", 24), ("pick_first", 12), ("elsewhere & more", 12)] {
        let line = format!("helloserve_route_calls_total{{outcome=\"success\",route=\"{route}\"}} {calls}\n");
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[tokio::test]
async fn unknown_route_is_404_and_the_existing_ones_are_listed() {
    let gateway =
        gateway(|config| config.grpc_routes = r#"[{"name":"a"},{"name":"b"}]"#.parse().unwrap()).await;
    for via in ["c", "", "A", "a%00", &"x".repeat(2000)] {
        let answer = get(gateway.addr, &format!("/hellogrpc?via={via}")).await;
        let detail = problem(&answer, 404);
        assert!(detail.contains("default, a, b") && detail.len() < 500, "{detail}");
        assert_eq!(answer.problem()["routes"], serde_json::json!(["default", "a", "b"]));
    }
    // /hellohttp ignores `via`; the HTTP backend does not exist.
    problem(&get(gateway.addr, "/hellohttp?via=c").await, 503);
}

#[tokio::test]
async fn unreachable_route_fails_alone_and_its_error_is_on_the_admin_port() {
    let up = pod("pod-1").await;
    let down = ipv4(refusing());
    let gateway = gateway(|config| {
        config.grpc_target = up.target();
        config.grpc_routes = format!(r#"[{{"name":"down","target":"{down}"}}]"#).parse().unwrap();
    })
    .await;
    upstream_failure(&get(gateway.addr, "/hellogrpc?via=down").await, 503, "unavailable");
    assert_eq!(get(gateway.addr, "/hellogrpc").await.status, 200);
    let public = status(&gateway, "down").await;
    assert_eq!(
        (&public["endpoints"]["ready"], public.get("target"), public.get("error")),
        (&0.into(), None, None)
    );
    let details = admin(&gateway, "/debug/routes").await;
    let details = &details["routes"][1];
    assert_eq!(details["target"], down.to_string());
    assert!(details["error"].as_str().unwrap().contains("refused"), "{details}");
}

#[tokio::test]
async fn route_selection_can_be_disabled() {
    let (default, other) = (pod("pod-1").await, pod("pod-2").await);
    let gateway = gateway(|config| {
        config.grpc_target = default.target();
        config.grpc_routes =
            format!(r#"[{{"name":"other","target":"{}"}}]"#, other.target()).parse().unwrap();
        config.route_selection = false;
    })
    .await;
    problem(&get(gateway.addr, "/routes").await, 404);
    let answers = responses_by_pod(&gateway, "&via=other").await;
    assert_eq!(answers, BTreeMap::from([("pod-1".to_owned(), 12)]));
}

/// Returns the JSON of a page of the admin port.
async fn admin(gateway: &InProcess, path: &str) -> Value {
    let request = http::Request::get(path).header("host", "test").body(axum::body::Body::empty()).unwrap();
    let response = gateway.instance.admin.router().oneshot(request).await.unwrap();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    serde_json::from_slice(&body).unwrap()
}

/// Returns the number of attempts for one request with this query when the backend is always unavailable.
async fn attempts(via: &str) -> usize {
    let mut backend = failing(Status::unavailable("not now")).await;
    let gateway = gateway(|config| {
        config.grpc_target = backend.target();
        config.grpc_routes = format!(
            r#"[{{"name":"plain"}},{{"name":"never","serviceConfig":{{}}}},{{"name":"thrice","serviceConfig":{{"methodConfig":[{RETRY}]}}}}]"#
        )
        .parse()
        .unwrap();
    })
    .await;
    problem(&get(gateway.addr, &format!("/hellogrpc?{via}")).await, 503);
    backend.calls()
}

#[tokio::test]
async fn route_without_a_service_config_has_the_default_retries() {
    for (via, expected) in [("", 4), ("via=plain", 4), ("via=never", 1), ("via=thrice", 3)] {
        assert_eq!(attempts(via).await, expected, "{via}");
    }
}
