//! Everything the HTTP backend can do wrong, and what the caller is told.

mod stage;

use std::time::Duration;

use service::testing::{Answer, bounded};
use stage::{
    InProcess,
    client::{get, problem, request},
    gateway,
    http_backend::{Deed, Event, HttpBackend, http_backend, ok},
    refusing,
};

async fn before(deed: impl Fn() -> Deed + Send + Sync + 'static) -> (InProcess, HttpBackend) {
    let backend = http_backend(move |_, _| deed()).await;
    let gateway = gateway(|config| config.http_target = backend.url()).await;
    (gateway, backend)
}

/// The gateway's answer, and the sentence that every one of these begins with.
async fn asked(gateway: &InProcess, backend: &HttpBackend) -> (Answer, String) {
    let answer = get(gateway.addr, "/hellohttp?name=Ann").await;
    (answer, format!("the HTTP backend {} ", backend.url()))
}

#[tokio::test]
async fn down() {
    let target = format!("http://{}/hellohttp", refusing());
    let gateway = gateway(|config| config.http_target = target.parse().unwrap()).await;
    let detail = problem(&get(gateway.addr, "/hellohttp").await, 503);
    assert!(
        detail.starts_with(&format!("the HTTP backend {target} is unavailable: Connection refused")),
        "{detail}"
    );
}

#[tokio::test]
async fn a_name_that_nobody_knows() {
    let gateway = gateway(|config| {
        config.http_target = "http://no-such.invalid/hellohttp".parse().unwrap();
        config.http_dns_server = Some(refusing());
    })
    .await;
    let detail = problem(&get(gateway.addr, "/hellohttp").await, 503);
    assert!(detail.contains("cannot resolve no-such.invalid"), "{detail}");
}

#[tokio::test]
async fn hung() {
    let mut backend = http_backend(|_, _| Deed::Hang).await;
    let gateway = gateway(|config| {
        config.http_target = backend.url();
        config.upstream_timeout = Duration::from_millis(50);
    })
    .await;
    let (answer, backend_says) = asked(&gateway, &backend).await;
    assert_eq!(problem(&answer, 504), format!("{backend_says}did not answer within 50ms"));
    // The call is given up, not left to itself.
    assert_eq!(backend.next().await, Event::Connected);
    backend.next_request().await;
}

#[tokio::test]
async fn hung_longer_than_the_caller_waits() {
    let (gateway, backend) = before(|| Deed::Hang).await;
    let answer = request(gateway.addr, "GET", "/hellohttp", "grpc-timeout: 30m\r\n").await;
    let detail = problem(&answer, 504);
    assert_eq!(detail, format!("the HTTP backend {} did not answer within 30ms", backend.url()));
}

#[tokio::test]
async fn hung_in_the_middle_of_its_answer() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"name\":";
    let (gateway, _backend) = before(|| {
        Deed::AnswerLater(half.to_owned(), {
            let (done, later) = tokio::sync::oneshot::channel();
            done.send(()).unwrap();
            later
        })
    })
    .await;
    let answer = request(gateway.addr, "GET", "/hellohttp", "grpc-timeout: 50m\r\n").await;
    problem(&answer, 504);
}

#[tokio::test]
async fn errors_are_told_in_the_backends_words() {
    for (status, words) in
        [("500 Internal Server Error", "the disk is full"), ("404 Not Found", "no such page")]
    {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{words}", words.len());
        let (gateway, backend) = before(move || Deed::Answer(answer.clone())).await;
        let (answer, backend_says) = asked(&gateway, &backend).await;
        assert_eq!(problem(&answer, 502), format!("{backend_says}answered {status}: {words}"));
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let away = "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n";
    let (gateway, mut backend) = before(|| Deed::Answer(away.to_owned())).await;
    let (answer, backend_says) = asked(&gateway, &backend).await;
    assert_eq!(problem(&answer, 502), format!("{backend_says}answered 302 Found"));
    backend.next_request().await;
    assert_eq!(backend.seen(), []);
}

#[tokio::test]
async fn not_an_object() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
    for (body, word) in [
        ("<html>", "not a JSON object"),
        ("", "not a JSON object"),
        ("[1]", "not a JSON object"),
        ("{\"name\":\"Ann\"", "not a JSON object"),
        ("{} {}", "not a JSON object"),
        (&deep, "nested more than 64"),
    ] {
        let answer = ok(body);
        let (gateway, backend) = before(move || Deed::Answer(answer.clone())).await;
        let (answer, backend_says) = asked(&gateway, &backend).await;
        let detail = problem(&answer, 502);
        assert!(detail.starts_with(&backend_says) && detail.contains(word), "{body}: {detail}");
    }
}

#[tokio::test]
async fn not_http() {
    for garbage in [&b"\x00\x01\x02\xff\xfe\r\n\r\n"[..], b"SSH-2.0-OpenSSH_9.9\r\n", b"HTTP/9.9 abc\r\n\r\n"]
    {
        let (gateway, backend) = before(move || Deed::AnswerAndClose(garbage.to_vec())).await;
        let (answer, backend_says) = asked(&gateway, &backend).await;
        let detail = problem(&answer, 502);
        assert!(detail.starts_with(&backend_says), "{detail}");
    }
}

#[tokio::test]
async fn cut_off() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"name\":";
    let (gateway, backend) = before(|| Deed::AnswerAndClose(half.into())).await;
    let (answer, backend_says) = asked(&gateway, &backend).await;
    let detail = problem(&answer, 502);
    assert!(detail.starts_with(&format!("{backend_says}broke off its answer")), "{detail}");
}

#[tokio::test]
async fn longer_than_anyone_needs() {
    let fits = ok(&format!("{{\"a\":\"{}\"}}", "x".repeat(64 * 1024 - 8)));
    let (gateway, backend) = before(move || Deed::Answer(fits.clone())).await;
    assert_eq!(asked(&gateway, &backend).await.0.status, 200);

    let too_long = ok(&format!("{{\"a\":\"{}\"}}", "x".repeat(64 * 1024 - 7)));
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let until_closed = "HTTP/1.1 200 OK\r\n\r\n";
    let (gateway, backend) = before(move || Deed::Answer(too_long.clone())).await;
    let (answer, backend_says) = asked(&gateway, &backend).await;
    assert_eq!(problem(&answer, 502), format!("{backend_says}answered more than 64 KiB"));

    for (first, again) in [(chunked, "4\r\n    \r\n"), (until_closed, "    ")] {
        let (gateway, mut backend) = before(move || Deed::NeverEnd(first, again)).await;
        let (answer, backend_says) = asked(&gateway, &backend).await;
        assert_eq!(problem(&answer, 502), format!("{backend_says}answered more than 64 KiB"));
        // And it need not go on.
        bounded(async { while backend.next().await != Event::Closed {} }).await;
    }
}
