//! The exact responses with the real backends, and names that are hard to encode.

mod harness;

use harness::{
    client::get,
    gateway,
    grpc_backend::{grpc_backend, introduction},
    http_backend::{Action, http_backend, ok},
    ipv4, running,
};
use serde_json::Value;

/// Names and their encodings in a query.
const NAMES: [(&str, &str); 8] = [
    ("Ann", "Ann"),
    ("a b+c", "a+b%2Bc"),
    ("a&b=c#d?e/f", "a%26b%3dc%23d%3Fe/f"),
    ("Łukasz 👋", "%C5%81ukasz%20%F0%9F%91%8B"),
    ("Łukasz", "Łukasz"),
    ("\"quoted\\\"", "%22quoted%5C%22"),
    ("line\r\nx: y\0\u{7f}", "line%0D%0Ax:%20y%00%7F"),
    ("100%", "100%25"),
];

#[tokio::test]
async fn response_of_a_real_backend_is_nested() {
    let grpc = running("v1-hellogrpc", "pod-1", |listener, instance| {
        hellogrpc::serve(hellogrpc::Config::default(), listener, instance)
    })
    .await;
    let http = running("v1-hellohttp", "pod-2", |listener, instance| {
        hellohttp::serve(hellohttp::Config::default(), listener, instance)
    })
    .await;
    let gateway = gateway(|config| {
        config.grpc_target = ipv4(grpc.addr);
        config.http_target = format!("http://{}/hellohttp", http.addr).parse().unwrap();
    })
    .await;
    for (path, expected) in [
        (
            "/hellogrpc",
            r#"{"name":"","version":"v1-helloserve","hostname":"gw","response":{"version":"v1-hellogrpc","hostname":"pod-1"}}"#,
        ),
        (
            "/hellogrpc?name=Ann",
            r#"{"name":"Ann","version":"v1-helloserve","hostname":"gw","response":{"name":"Ann","version":"v1-hellogrpc","hostname":"pod-1"}}"#,
        ),
        (
            "/hellohttp",
            r#"{"name":"","version":"v1-helloserve","hostname":"gw","response":{"hostname":"pod-2","name":"","version":"v1-hellohttp"}}"#,
        ),
    ] {
        let answer = get(gateway.addr, path).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, expected));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn any_name_reaches_both_backends_unchanged() {
    let mut grpc = grpc_backend(|name| Box::pin(async { Ok(introduction(name, "pod-1")) })).await;
    let mut http = http_backend(|_, _| Action::Respond(ok("{}"))).await;
    let gateway = gateway(|config| {
        config.grpc_target = grpc.target();
        config.http_target = http.url();
    })
    .await;
    for (name, query) in NAMES {
        let answer = get(gateway.addr, &format!("/hellogrpc?name={query}")).await;
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((&body["name"], &body["response"]["name"]), (&name.into(), &name.into()));
        assert_eq!(grpc.next_call().await.1.name, name);

        let answer = get(gateway.addr, &format!("/hellohttp?name={query}")).await;
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["name"], name);
        let head = http.next_request().await;
        let target = head.split(' ').nth(1).unwrap();
        let url = url::Url::parse(&format!("http://x{target}")).unwrap();
        let pairs: Vec<_> = url.query_pairs().collect();
        assert_eq!(pairs, [("name".into(), name.into())], "{head}");
    }
}

#[tokio::test]
async fn query_of_the_target_is_kept() {
    let mut http = http_backend(|_, _| Action::Respond(ok("{}"))).await;
    let gateway =
        gateway(|config| config.http_target = format!("{}?lang=pl", http.url()).parse().unwrap()).await;
    get(gateway.addr, "/hellohttp?name=Ann").await;
    let head = http.next_request().await;
    assert!(head.starts_with("GET /hellohttp?lang=pl&name=Ann HTTP/1.1\r\n"), "{head}");
}

#[tokio::test]
async fn object_of_the_http_backend_is_forwarded_with_sorted_keys() {
    let body = " {\"z\": 1.10, \"a\": {\"y\": [1, {\"d\":2, \"c\":3}], \"x\": null}, \"n\": 12345678901234567890123} ";
    let http = http_backend(|_, _| Action::Respond(ok(body))).await;
    let gateway = gateway(|config| config.http_target = http.url()).await;
    let answer = get(gateway.addr, "/hellohttp").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(
        answer.body,
        r#"{"name":"","version":"v1-helloserve","hostname":"gw","response":{"a":{"x":null,"y":[1,{"c":3,"d":2}]},"n":12345678901234567890123,"z":1.10}}"#
    );
}
