//! The gateway as a process: how it starts, what its admin port says, how it ends.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod stage;

use std::time::Duration;

use serde_json::Value;
use service::testing::{Answer, Running, Signal, bounded, exit_of};
use stage::{
    client::{get, problem},
    gateway,
    grpc_backend::{grpc_backend, introduction},
    http_backend::{Deed, http_backend, ok},
    ipv4, refusing, running,
};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, yield_now},
    time::sleep,
};

const EXE: &str = env!("CARGO_BIN_EXE_helloserve");

/// Starts a gateway before these backends, with a timeout that nothing here meets.
async fn start(grpc: impl ToString, http: impl ToString) -> Running {
    let (grpc, http) = (grpc.to_string(), http.to_string());
    Running::start(EXE, &[("GRPC_TARGET", &grpc), ("HTTP_TARGET", &http), ("UPSTREAM_TIMEOUT", "20s")]).await
}

/// A URL where nothing listens.
fn nowhere() -> String {
    format!("http://{}/hellohttp", refusing())
}

/// Sends SIGTERM while `call` is in flight, lets the backend answer once the gateway closes, and returns what the
/// caller got.
async fn terminated(mut gateway: Running, call: JoinHandle<Answer>, finish: oneshot::Sender<()>) -> Answer {
    gateway.signal(Signal::TERM);
    gateway.logs("closing").await;
    finish.send(()).unwrap();
    let answer = bounded(call).await.unwrap();
    assert_eq!(gateway.exit().await.code, Some(0), "{answer:?}");
    answer
}

#[tokio::test]
async fn sigterm_lets_a_slow_http_call_finish() {
    let (finish, later) = oneshot::channel();
    let later = std::sync::Mutex::new(Some(later));
    let mut backend = http_backend(move |_, _| match later.lock().unwrap().take() {
        Some(later) => Deed::AnswerLater(ok("{\"slow\":true}"), later),
        None => Deed::Hang,
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
async fn sigterm_lets_a_slow_grpc_call_finish() {
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

/// A listener that takes connections, as the kernel does, and says nothing on them: no packet of it is ever seen.
#[tokio::test(start_paused = true)]
async fn it_is_not_ready_before_it_has_reached_its_backends_or_waited_long_enough() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = gateway(|config| config.grpc_target = ipv4(silent.local_addr().unwrap())).await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(
        gateway.instance.admin.ready(),
        Err("no backend was reached yet by the routes default; it is ready 3.5s after its start in any case"
            .into())
    );
    sleep(Duration::from_secs(1)).await;
    assert_eq!(gateway.instance.admin.ready(), Ok(()));
}

#[tokio::test]
async fn it_is_ready_with_its_first_connection_and_stays_so() {
    let backend = running("v1-hellogrpc", "pod-1", |listener, instance| {
        hellogrpc::serve(hellogrpc::Config::default(), listener, instance)
    })
    .await;
    let gateway = gateway(|config| config.grpc_target = ipv4(backend.addr)).await;
    bounded(async {
        while gateway.instance.admin.ready().is_err() {
            yield_now().await;
        }
    })
    .await;
    assert_eq!(get(gateway.addr, "/hellogrpc").await.status, 200);
    backend.end().await;
    problem(&get(gateway.addr, "/hellogrpc").await, 503);
    assert_eq!(gateway.instance.admin.ready(), Ok(()));
}

#[tokio::test]
async fn without_any_backend_it_is_ready_and_says_what_it_sees() {
    let grpc = refusing();
    let gateway = start(ipv4(grpc), nowhere()).await;
    for path in ["/readyz", "/healthz", "/_ah/health"] {
        let answer = get(gateway.admin, path).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"), "{path}");
    }
    problem(&get(gateway.listen, "/hellogrpc").await, 503);
    problem(&get(gateway.listen, "/hellohttp").await, 503);

    let answer = get(gateway.admin, "/debug/channels").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let seen: Value = serde_json::from_str(&answer.body).unwrap();
    let channel = &seen["channels"][0];
    assert_eq!((&channel["name"], &channel["target"]), (&"default".into(), &format!("ipv4:{grpc}").into()));
    assert_eq!(channel["subchannels"][0]["address"], grpc.to_string());
    assert!(channel["subchannels"][0]["last_error"].as_str().unwrap().contains("refused"), "{channel}");
}

#[tokio::test]
async fn a_setting_that_cannot_work_is_named_and_the_exit_code_is_2() {
    for (name, value, word) in [
        ("GRPC_TARGET", "xds:///svc", "unknown scheme"),
        ("GRPC_TARGET", "https://svc", "TLS"),
        ("GRPC_TARGET", "kubernetes:///", "names no port: write kubernetes:///service.namespace:port"),
        ("GRPC_SERVICE_CONFIG", "retry", "GRPC_SERVICE_CONFIG"),
        ("GRPC_SERVICE_CONFIG", "{\"retryThrottling\":5}", "retryThrottling: "),
        ("GRPC_ROUTES", "[5]", "GRPC_ROUTES>': [0]: invalid type"),
        ("GRPC_ROUTES", "[{\"name\":\"\"}]", "[0].name: it is empty"),
        ("GRPC_ROUTES", "[{\"name\":\"a\"},{\"name\":\"a\"}]", "[1].name: two routes are called \"a\""),
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

/// As it stands in a manifest: over many lines, some of them empty.
#[tokio::test]
async fn what_is_wrong_in_a_long_setting_is_still_one_line_that_says_it() {
    let long = " ".repeat(50) + &"{},".repeat(100);
    let routes = format!(
        "[\n\n{{\"name\": \"a\",\n\n\"serviceConfig\": {{\"loadBalancingConfig\": [{long} {{\"dice\": {{}}}}]}}}}]"
    );
    let exit = exit_of(EXE, &[], &[("GRPC_ROUTES", &routes)]).await;
    assert_eq!(exit.code, Some(2), "{exit:?}");
    assert_eq!(exit.stderr.lines().count(), 1, "{exit:?}");
    assert!(exit.stderr.contains("[0].serviceConfig: ") && exit.stderr.len() < 500, "{exit:?}");
}
