//! The gateway as a process: how it starts, what its admin port says, how it ends.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod stage;

use std::{net::SocketAddr, process::Stdio};

use serde_json::Value;
use stage::{
    client::{Answer, get},
    grpc_backend::{grpc_backend, introduction},
    http_backend::{Deed, http_backend, ok},
    refusing, soon,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
    sync::oneshot,
    task::JoinHandle,
};

/// A gateway process; killed when the test ends before it does.
struct Process {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    addr: SocketAddr,
    admin: SocketAddr,
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_helloserve"));
    command
        .env_clear()
        .envs([("LISTEN_ADDR", "127.0.0.1:0"), ("ADMIN_ADDR", "127.0.0.1:0"), ("UPSTREAM_TIMEOUT", "20s")])
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Starts a gateway, and waits until it says where it listens.
async fn start(variables: [(&str, String); 2]) -> Process {
    let mut child = command().envs(variables).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let started = line_with(&mut log, "helloserve starts").await;
    let addr = |name| -> SocketAddr {
        let field = started.pointer(&format!("/fields/{name}")).or_else(|| started.get(name));
        field.unwrap_or_else(|| panic!("{started}")).as_str().unwrap().parse().unwrap()
    };
    let (addr, admin) = (addr("listen"), addr("admin"));
    Process { child, log, addr, admin }
}

/// The next line of the log that has these words.
async fn line_with(log: &mut Lines<BufReader<ChildStderr>>, words: &str) -> Value {
    loop {
        let line =
            soon(log.next_line()).await.unwrap().unwrap_or_else(|| panic!("it ended without {words:?}"));
        if line.contains(words) {
            return serde_json::from_str(&line).unwrap();
        }
    }
}

/// Sends SIGTERM while `call` is in flight, lets the backend answer once the gateway closes, and returns what the
/// caller got.
async fn terminated(mut gateway: Process, call: JoinHandle<Answer>, finish: oneshot::Sender<()>) -> Answer {
    let pid = gateway.child.id().unwrap();
    let kill = Command::new("sh").arg("-c").arg(format!("kill -TERM {pid}")).status();
    assert!(soon(kill).await.unwrap().success());
    line_with(&mut gateway.log, "closing").await;
    finish.send(()).unwrap();
    let answer = soon(call).await.unwrap();
    let status = soon(gateway.child.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0), "{answer:?}");
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
    let targets =
        [("HTTP_TARGET", backend.url().to_string()), ("GRPC_TARGET", format!("ipv4:{}", refusing()))];
    let gateway = start(targets).await;
    let addr = gateway.addr;
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
    let targets =
        [("HTTP_TARGET", format!("http://{}/", refusing())), ("GRPC_TARGET", backend.target().to_string())];
    let gateway = start(targets).await;
    let addr = gateway.addr;
    let call = tokio::spawn(async move { get(addr, "/hellogrpc?name=Ann").await });
    backend.next_call().await;
    let answer = terminated(gateway, call, finish).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.ends_with("\"hostname\":\"pod-1\"}}"), "{answer:?}");
}

#[tokio::test]
async fn without_any_backend_it_is_ready_and_says_what_it_sees() {
    let (grpc, http) = (refusing(), refusing());
    let targets = [("HTTP_TARGET", format!("http://{http}/")), ("GRPC_TARGET", format!("ipv4:{grpc}"))];
    let gateway = start(targets).await;
    for path in ["/readyz", "/healthz", "/_ah/health"] {
        let answer = get(gateway.admin, path).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"), "{path}");
    }
    get(gateway.addr, "/hellogrpc").await.problem(503);
    get(gateway.addr, "/hellohttp").await.problem(503);

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
        ("HTTP_TARGET", "https://svc/", "TLS"),
        ("HTTP_TARGET", "svc", "http://"),
        ("HTTP_DNS_SERVER", "dns", "HTTP_DNS_SERVER"),
        ("UPSTREAM_TIMEOUT", "0s", "1ms"),
        ("UPSTREAM_TIMEOUT", "5", "unit"),
        ("MAX_CONCURRENT_REQUESTS", "0", "MAX_CONCURRENT_REQUESTS"),
    ] {
        let output = soon(command().env(name, value).output()).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}={value}: {said}");
        assert!(said.contains(value) && said.contains(word), "{name}={value}: {said}");
    }
}
