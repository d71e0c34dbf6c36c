//! Requests that the gateway rejects before it calls a backend.

mod harness;

use axum::body::Body;
use harness::{
    client::{get, problem, request},
    gateway,
    grpc_backend::{grpc_backend, introduction},
    http_backend::{Action, Event, http_backend, ok},
};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use service::testing::bounded;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};

#[tokio::test]
async fn invalid_query_is_a_bad_request_and_a_long_name_is_uri_too_long() {
    let gateway = gateway(|_| {}).await;
    for path in ["/hellogrpc", "/hellohttp"] {
        for (query, status) in [
            ("name=a&name=b", 400),
            ("via=a&via=b", 400),
            (&format!("name={}", "a".repeat(1025)), 414),
            (&format!("name={}", "%C5%81".repeat(513)), 414),
        ] {
            problem(&get(gateway.addr, &format!("{path}?{query}")).await, status);
        }
    }
}

#[tokio::test]
async fn malformed_grpc_timeout_is_a_bad_request() {
    let gateway = gateway(|_| {}).await;
    for header in
        ["grpc-timeout: soon\r\n", "grpc-timeout: 1s\r\n", "grpc-timeout: 1S\r\ngrpc-timeout: 2S\r\n"]
    {
        let detail = problem(&request(gateway.addr, "GET", "/hellogrpc", header).await, 400);
        assert!(detail.contains("grpc-timeout"), "{detail}");
    }
}

#[tokio::test]
async fn body_is_refused_unless_it_is_empty() {
    let gateway = gateway(|_| {}).await;
    for body in ["content-length: 3\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"] {
        problem(&request(gateway.addr, "GET", "/hellohttp", body).await, 413);
    }
    // The backend, which is not there, was called.
    for body in ["content-length: 0\r\n", "transfer-encoding: chunked\r\n\r\n0\r\n\r\n"] {
        problem(&request(gateway.addr, "GET", "/hellogrpc", body).await, 503);
    }
}

#[tokio::test]
async fn other_method_is_405_and_other_path_is_404() {
    let gateway = gateway(|_| {}).await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
        for path in ["/hellogrpc", "/hellohttp?name=Ann"] {
            let answer = request(gateway.addr, method, path, "content-length: 0\r\n").await;
            assert_eq!(answer.header("allow"), Some("GET,HEAD"));
            let detail = problem(&answer, 405);
            assert!(detail.contains(method), "{detail}");
        }
    }
    for path in
        ["/", "/hello", "/hellogrpc/", "/hellogrpc/x", "/HELLOGRPC", "//", "/debug/channels", "/metrics"]
    {
        let detail = problem(&get(gateway.addr, path).await, 404);
        assert!(detail.contains(path), "{detail}");
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let grpc = grpc_backend(|name| Box::pin(async { Ok(introduction(name, "pod-1")) })).await;
    let gateway = gateway(|config| config.grpc_target = grpc.target()).await;
    let whole = get(gateway.addr, "/hellogrpc?name=Ann").await;
    let mut stream = TcpStream::connect(gateway.addr).await.unwrap();
    let request = b"HEAD /hellogrpc?name=Ann HTTP/1.1\r\nhost: gw\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    bounded(stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "");
    for line in ["HTTP/1.1 200 OK", "content-type: application/json"] {
        assert!(head.lines().any(|found| found == line), "{head}");
    }
    assert!(head.contains(&format!("content-length: {}", whole.body.len())), "{head}");
}

#[tokio::test]
async fn request_above_the_limit_is_shed_and_others_are_served() {
    let (finish, later) = oneshot::channel();
    let later = std::sync::Mutex::new(Some(later));
    let mut backend = http_backend(move |count, _| match later.lock().unwrap().take() {
        Some(later) => Action::RespondLater(ok("{\"call\":0}"), later),
        None => Action::Respond(ok(&format!("{{\"call\":{count}}}"))),
    })
    .await;
    let gateway = gateway(|config| {
        config.http_target = backend.url();
        config.max_concurrent_requests = 1.try_into().unwrap();
    })
    .await;
    let addr = gateway.addr;
    let first = tokio::spawn(async move { get(addr, "/hellohttp").await });
    backend.next_request().await;

    for path in ["/hellohttp", "/hellogrpc"] {
        let shed = get(addr, path).await;
        assert_eq!(shed.header("retry-after"), Some("1"));
        problem(&shed, 503);
    }
    assert!(
        !backend.seen().iter().any(|event| matches!(event, Event::Request(_))),
        "shed calls were passed on"
    );

    let metrics = gateway.instance.metrics.render().unwrap();
    assert!(metrics.contains("\nhelloserve_shed_requests_total 2\n"), "{metrics}");

    finish.send(()).unwrap();
    let first = bounded(first).await.unwrap();
    assert!(first.body.ends_with("\"response\":{\"call\":0}}"), "{first:?}");
    let next = get(addr, "/hellohttp").await;
    assert!(next.body.ends_with("\"response\":{\"call\":1}}"), "{next:?}");
}

#[tokio::test]
async fn response_that_the_client_does_not_read_is_in_flight() {
    let answer = format!("{{\"filler\":\"{}\"}}", "x".repeat(60_000));
    let backend = http_backend(move |_, _| Action::Respond(ok(&answer))).await;
    let gateway = gateway(|config| {
        config.http_target = backend.url();
        config.max_concurrent_requests = 2.try_into().unwrap();
    })
    .await;
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(1024)
        .handshake(TokioIo::new(TcpStream::connect(gateway.addr).await.unwrap()))
        .await
        .unwrap();
    tokio::spawn(connection);
    let uri = format!("http://{}/hellohttp", gateway.addr);
    let mut get = || bounded(sender.send_request(Request::get(&uri).body(Body::empty()).unwrap()));

    let first = get().await.unwrap();
    let second = get().await.unwrap();
    assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::OK));
    assert_eq!(get().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);

    let read = bounded(first.into_body().collect()).await.unwrap().to_bytes();
    assert!(read.len() > 60_000 && read.ends_with(b"}}"), "{} bytes", read.len());
    assert_eq!(get().await.unwrap().status(), StatusCode::OK);
    drop(second);
}
