//! The gateway as a process: start, readiness, admin port and shutdown.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod harness;

use std::time::Duration;

use harness::{
    client::{get, problem, upstream_failure},
    gateway,
    grpc_backend::{grpc_backend, introduction},
    http_backend::{Action, http_backend, ok},
    ipv4, refusing, running,
};
use serde_json::Value;
use service::testing::{Response, Running, Signal, bounded, exit_of};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, yield_now},
    time::sleep,
};

const EXE: &str = env!("CARGO_BIN_EXE_helloserve");

/// Starts a gateway in front of these backends, with an upstream timeout that no test reaches.
async fn start(grpc: impl ToString, http: impl ToString) -> Running {
    let (grpc, http) = (grpc.to_string(), http.to_string());
    Running::start(EXE, &[("GRPC_TARGET", &grpc), ("HTTP_TARGET", &http), ("UPSTREAM_TIMEOUT", "20s")]).await
}

/// Returns a URL on whose address nothing listens.
fn nowhere() -> String {
    format!("http://{}/hellohttp", refusing())
}

/// Sends SIGTERM while `call` is in flight, lets the backend respond once the gateway drains, and returns the response
/// of the call.
async fn terminated(
    mut gateway: Running,
    call: JoinHandle<Response>,
    finish: oneshot::Sender<()>,
) -> Response {
    gateway.signal(Signal::TERM);
    gateway.logs("closing").await;
    finish.send(()).unwrap();
    let answer = bounded(call).await.unwrap();
    assert_eq!(gateway.exit().await.code, Some(0), "{answer:?}");
    answer
}

#[tokio::test]
async fn slow_http_call_in_flight_survives_sigterm() {
    let (finish, later) = oneshot::channel();
    let later = std::sync::Mutex::new(Some(later));
    let mut backend = http_backend(move |_, _| match later.lock().unwrap().take() {
        Some(later) => Action::RespondLater(ok("{\"slow\":true}"), later),
        None => Action::Stall,
    })
    .await;
    let gateway = start(ipv4(refusing()), backend.url()).await;
    let addr = gateway.listen;
    let call = tokio::spawn(async move { get(addr, "/hellohttp").await });
    backend.next_request().await;
    let answer = terminated(gateway, call, finish).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.ends_with("\"response\":{\"slow\":true}}"), "{answer:?}");
}

#[tokio::test]
async fn slow_grpc_call_in_flight_survives_sigterm() {
    let (finish, later) = oneshot::channel();
    let later = std::sync::Mutex::new(Some(later));
    let mut backend = grpc_backend(move |name| {
        let later = later.lock().unwrap().take();
        Box::pin(async move {
            later.expect("one call").await.unwrap();
            Ok(introduction(name, "pod-1"))
        })
    })
    .await;
    let gateway = start(backend.target(), nowhere()).await;
    let addr = gateway.listen;
    let call = tokio::spawn(async move { get(addr, "/hellogrpc?name=Ann").await });
    backend.next_call().await;
    let answer = terminated(gateway, call, finish).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.ends_with("\"hostname\":\"pod-1\"}}"), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn gateway_whose_backends_are_not_reached_becomes_ready_after_the_startup_timeout() {
    let gateway = gateway(|config| config.startup_timeout = Duration::from_secs(30)).await;
    sleep(Duration::from_secs(29)).await;
    assert!(gateway.instance.admin.ready().is_err());
    sleep(Duration::from_secs(2)).await;
    assert_eq!(gateway.instance.admin.ready(), Ok(()));
}

#[tokio::test]
async fn gateway_is_ready_once_both_backends_are_reached_and_stays_ready() {
    let grpc = running("v1-hellogrpc", "pod-1", |listener, instance| {
        hellogrpc::serve(hellogrpc::Config::default(), listener, instance)
    })
    .await;
    let http = http_backend(|_, _| Action::Respond(ok("{}"))).await;
    let gateway = gateway(|config| {
        config.grpc_target = ipv4(grpc.addr);
        config.http_target = http.url();
    })
    .await;
    bounded(async {
        while gateway.instance.admin.ready().is_err() {
            yield_now().await;
        }
    })
    .await;
    assert_eq!(get(gateway.addr, "/hellogrpc").await.status, 200);
    grpc.end().await;
    problem(&get(gateway.addr, "/hellogrpc").await, 503);
    assert_eq!(gateway.instance.admin.ready(), Ok(()));
}

#[tokio::test]
async fn gateway_with_unreachable_backends_is_alive_but_not_ready_and_reports_why() {
    let grpc = refusing();
    let mut gateway = start(ipv4(grpc), nowhere()).await;
    let health = get(gateway.admin, "/healthz").await;
    assert_eq!((health.status, health.body.as_str()), (200, "ok"));
    assert_eq!(get(gateway.admin, "/readyz").await.status, 503);
    upstream_failure(&get(gateway.listen, "/hellogrpc").await, 503, "unavailable");
    upstream_failure(&get(gateway.listen, "/hellohttp").await, 503, "unavailable");
    gateway.logs("HTTP backend is not reachable yet").await;

    let answer = get(gateway.admin, "/debug/channels").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let seen: Value = serde_json::from_str(&answer.body).unwrap();
    let channel = &seen["channels"][0];
    assert_eq!((&channel["name"], &channel["target"]), (&"default".into(), &format!("ipv4:{grpc}").into()));
    assert_eq!(channel["subchannels"][0]["address"], grpc.to_string());
    assert!(channel["subchannels"][0]["last_error"].as_str().unwrap().contains("refused"), "{channel}");
}

#[tokio::test]
async fn unusable_setting_is_named_and_the_exit_code_is_2() {
    for (name, value, word) in [
        ("GRPC_TARGET", "xds:///svc", "unknown scheme"),
        ("GRPC_TARGET", "https://svc", "TLS"),
        ("GRPC_TARGET", "kubernetes:///", "names no port: write kubernetes:///service.namespace:port"),
        ("GRPC_SERVICE_CONFIG", "retry", "GRPC_SERVICE_CONFIG"),
        ("GRPC_SERVICE_CONFIG", "{\"retryThrottling\":5}", "retryThrottling: "),
        ("GRPC_ROUTES", "[5]", "GRPC_ROUTES>': [0]: invalid type"),
        ("GRPC_ROUTES", "[{\"name\":\"\"}]", "[0].name: must not be empty"),
        ("GRPC_ROUTES", "[{\"name\":\"a\"},{\"name\":\"a\"}]", "[1].name: \"a\" is used by two routes"),
        ("GRPC_ROUTES", "[{\"name\":\"a\",\"target\":\"xds:///b\"}]", "[0].target: "),
        ("HTTP_TARGET", "https://svc/", "TLS"),
        ("HTTP_TARGET", "svc", "http://"),
        ("HTTP_DNS_SERVER", "dns", "HTTP_DNS_SERVER"),
        ("UPSTREAM_TIMEOUT", "0s", "1ms"),
        ("UPSTREAM_TIMEOUT", "5", "unit"),
        ("MAX_CONCURRENT_REQUESTS", "0", "MAX_CONCURRENT_REQUESTS"),
    ] {
        let exit = exit_of(EXE, &[], &[(name, value)]).await;
        assert_eq!(exit.code, Some(2), "{name}={value}: {exit:?}");
        assert!(exit.stderr.contains(value) && exit.stderr.contains(word), "{name}={value}: {exit:?}");
    }
}

#[tokio::test]
async fn retry_policy_at_the_top_level_is_a_warning_and_the_effective_config_is_logged() {
    let bare = r#"{"maxAttempts": 3, "retryableStatusCodes": ["UNAVAILABLE"]}"#;
    let env = [("GRPC_SERVICE_CONFIG", bare), ("GRPC_TARGET", "ipv4:127.0.0.1:9")];
    let mut gateway = Running::start(EXE, &env).await;
    for field in ["maxAttempts", "retryableStatusCodes"] {
        let warning = gateway.logs("unknown field of the service config has no effect").await;
        let warning: Value = serde_json::from_str(&warning).unwrap();
        assert_eq!((&warning["level"], &warning["field"]), (&"WARN".into(), &field.into()), "{warning}");
    }
    let configured = gateway.logs("gRPC route configured").await;
    let configured: Value = serde_json::from_str(&configured).unwrap();
    // A configured service config replaces the default as a whole, hedging included.
    assert!(configured["service_config"].as_str().unwrap().contains("methods: []"), "{configured}");

    let mut gateway = Running::start(EXE, &[("GRPC_TARGET", "ipv4:127.0.0.1:9")]).await;
    let configured = gateway.logs("gRPC route configured").await;
    assert!(configured.contains("HedgingPolicy"), "{configured}");
}

/// The setting has many lines, some of them empty, as in a manifest.
#[tokio::test]
async fn error_in_a_long_setting_is_one_line() {
    let long = " ".repeat(50) + &"{},".repeat(100);
    let routes = format!(
        "[\n\n{{\"name\": \"a\",\n\n\"serviceConfig\": {{\"loadBalancingConfig\": [{long} {{\"dice\": {{}}}}]}}}}]"
    );
    let exit = exit_of(EXE, &[], &[("GRPC_ROUTES", &routes)]).await;
    assert_eq!(exit.code, Some(2), "{exit:?}");
    assert_eq!(exit.stderr.lines().count(), 1, "{exit:?}");
    assert!(exit.stderr.contains("[0].serviceConfig: ") && exit.stderr.len() < 500, "{exit:?}");
}

#[tokio::test]
async fn failing_name_of_the_http_backend_is_one_warning_with_route_and_target() {
    let dns = refusing().to_string();
    let target = "http://backend.test:80/hellohttp";
    let env = [("GRPC_TARGET", "ipv4:127.0.0.1:1"), ("HTTP_TARGET", target), ("HTTP_DNS_SERVER", &dns)];
    let mut gateway = Running::start(EXE, &env).await;
    let line = gateway.logs("name resolution fails").await;
    assert_eq!(line.matches("\"target\"").count(), 1, "{line}");
    let warning: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(warning["level"], "WARN");
    assert_eq!(warning["route"], "/hellohttp");
    assert_eq!(warning["target"], "http://backend.test/hellohttp");
    assert_eq!(warning["name"], "backend.test");
    assert_eq!(warning["addresses"], 0);
}
