//! `kubetester call` on services that are not this system's: what is printed is what was answered.

use axum::{body::Body, response::Response};
use service::testing::{Exit, exit_of};

use super::{
    TOOL,
    greeter::{Reflection, greeter},
    hostile::answering,
    servers::saying,
};

async fn call(target: &str, arguments: &[&str]) -> Exit {
    exit_of(TOOL, &[&["call", target, "-n", "1"], arguments].concat(), &[]).await
}

fn first(exit: &Exit) -> &str {
    exit.stdout.lines().next().unwrap_or_default()
}

#[tokio::test]
async fn any_http_response_is_one_line() {
    for (response, code, begin, end) in [
        (
            &b"HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: 26\r\n\r\n<h1>\n  It works!\x1b[2J </h1>"[..],
            0,
            "HTTP 200 OK from 127.0.0.1:",
            ": 26 bytes of text/html: <h1> It works!\u{fffd}[2J </h1>",
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 3\r\n\r\n\x00\xff\x01",
            0,
            "HTTP 200 OK from 127.0.0.1:",
            ": 3 bytes of image/png",
        ),
        (
            b"HTTP/1.1 204 No Content\r\nhostname: web-7\r\n\r\n",
            0,
            "HTTP 204 No Content from web-7 in ",
            ": 0 bytes",
        ),
        (
            b"HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nnope\n",
            3,
            "HTTP 404 Not Found from 127.0.0.1:",
            ": 5 bytes of text/plain: nope",
        ),
        (
            b"HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n",
            3,
            "HTTP 302 Found from 127.0.0.1:",
            "is a redirect; follow it with --location",
        ),
    ] {
        let exit = call(&format!("http://{}/", saying(response).await), &[]).await;
        assert_eq!(exit.code, Some(code), "{begin}: {exit:?}");
        let line = first(&exit);
        assert!(line.starts_with(begin) && line.ends_with(end), "{line}");
    }
}

#[tokio::test]
async fn grpc_error_is_the_servers_answer() {
    let target = format!("grpc://{}", greeter("pod-a", Reflection::V1).await);
    let refuse = ["--method", "helloworld.Greeter/Refuse", "--pod-from", "header:x-pod"];
    let exit = call(&target, &refuse).await;
    assert_eq!(exit.code, Some(3), "{exit:?}");
    let line = first(&exit);
    assert!(
        line.starts_with("FAILED_PRECONDITION from pod-a after ") && line.ends_with(": closed today"),
        "{line}"
    );

    let exit = call(&target, &[]).await;
    let line = first(&exit);
    assert!(line.starts_with("UNIMPLEMENTED from "), "{exit:?}");
    assert!(line.ends_with(": the server does not have hello.Hello/SayHello: no such method"), "{exit:?}");
}

#[tokio::test]
async fn environment_that_is_not_utf8_is_named() {
    for (variable, command) in
        [("SERVER_DOMAIN", "call -n 1"), ("SERVER_PORT", "call -n 1"), ("HOSTNAME", "echo -s -h 127.0.0.1:0")]
    {
        let script = format!("{variable}=$(printf '\\377') exec {TOOL} {command}");
        let exit = exit_of("/bin/sh", &["-c", &script], &[]).await;
        let stderr = format!("kubetester: the environment variable {variable} is not valid UTF-8\n");
        assert_eq!(exit, Exit { code: Some(2), stderr, stdout: String::new() });
    }
}

#[tokio::test]
async fn unknown_method_is_bad_usage_at_once() {
    let target = format!("grpc://{}", greeter("pod-a", Reflection::V1).await);
    let arguments = ["call", &target, "--method", "helloworld.Greeter/SayHelo"];
    let exit = exit_of(TOOL, &arguments, &[]).await;
    assert_eq!(exit.code, Some(2), "{exit:?}");
    assert!(exit.stderr.contains("did you mean SayHello?") && exit.stdout.is_empty(), "{exit:?}");
}

#[tokio::test]
async fn control_characters_of_a_status_message_do_not_reach_the_terminal() {
    let address = answering(|| {
        let response = Response::builder().header("content-type", "application/grpc");
        let response =
            response.header("grpc-status", "9").header("grpc-message", "%1B[31mred%0Aline%E2%80%AE");
        response.body(Body::empty()).unwrap()
    })
    .await;
    let exit = call(&format!("grpc://{address}"), &["--method", "hello.Hello/SayHello"]).await;
    let printed = format!("{}{}", exit.stdout, exit.stderr);
    assert!(!printed.contains('\u{1b}') && !printed.contains('\u{202e}'), "{exit:?}");
    let exit = call(&format!("grpc://{address}"), &[]).await;
    assert!(exit.stdout.starts_with("FAILED_PRECONDITION from "), "{exit:?}");
    assert!(exit.stdout.contains(": \u{fffd}[31mred\u{fffd}line\u{fffd}\n"), "{exit:?}");
}

#[tokio::test]
async fn response_of_a_proxy_keeps_its_http_status() {
    fn status(status: u16) -> Response<Body> {
        let response = Response::builder().status(status).header("content-type", "text/html");
        response.body(Body::from("<html>")).unwrap()
    }
    for (respond, name, http) in [
        (
            (|| status(401)) as fn() -> Response<Body>,
            "UNAUTHENTICATED",
            "HTTP 401 Unauthorized with text/html",
        ),
        (|| status(403), "PERMISSION_DENIED", "HTTP 403 Forbidden"),
        (|| status(404), "UNIMPLEMENTED", "HTTP 404 Not Found"),
        (|| status(429), "UNAVAILABLE", "HTTP 429 Too Many Requests"),
        (|| status(502), "UNAVAILABLE", "HTTP 502 Bad Gateway"),
        (|| status(418), "UNKNOWN", "HTTP 418 I'm a teapot"),
        (|| status(200), "UNKNOWN", "HTTP 200 OK with text/html"),
    ] {
        let address = answering(respond).await;
        for target in [format!("grpc://{address}"), format!("ipv4:{address}")] {
            let exit = call(&target, &[]).await;
            assert_eq!(exit.code, Some(3), "{exit:?}");
            let line = first(&exit);
            assert!(line.starts_with(&format!("{name} from {address} after ")), "{line}");
            assert!(line.contains(http) && line.ends_with("is it a gRPC port?"), "{line}");
        }
    }
}

#[tokio::test]
async fn target_without_a_scheme_has_a_hint() {
    let address = saying(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.to_string();
    let hint = format!("{address} is taken as gRPC; for HTTP write http://{address}/");
    let exit = call(&address, &["--timeout", "2s"]).await;
    assert!(exit.code == Some(3) && exit.stderr.contains(&hint), "{exit:?}");
    let exit = super::load(&address, &["-n", "1"]).await;
    assert!(exit.code == Some(3) && exit.stderr.contains(&hint), "{exit:?}");
    let exit = call(&format!("{address}/api"), &[]).await;
    assert!(
        exit.code == Some(2) && exit.stderr.contains(&format!("for HTTP write http://{address}/api")),
        "{exit:?}"
    );
}

#[tokio::test]
async fn host_header_is_the_authority_and_reserved_headers_are_errors() {
    async fn authority(parts: axum::http::request::Parts) -> Response {
        let host = parts.headers.get("host").map(|_| "host ").unwrap_or_default();
        let authority = parts.uri.authority().map(ToString::to_string).unwrap_or_default();
        let response = Response::builder().header("content-type", "application/grpc");
        let message = format!("{host}{authority}");
        response.header("grpc-status", "9").header("grpc-message", message).body(Body::empty()).unwrap()
    }
    let routes = tonic::service::Routes::from(axum::Router::new().fallback(authority));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(tonic::transport::Server::builder().add_routes(routes).serve_with_incoming(incoming));
    for target in [format!("grpc://{address}"), format!("ipv4:{address}"), format!("tonic:{address}")] {
        let exit = call(&target, &["--header", "host: api.example.com"]).await;
        assert!(first(&exit).ends_with(": api.example.com"), "{target}: {exit:?}");
        for header in ["te: trailers", "content-type: text/html", "grpc-timeout: 1S", "connection: close"] {
            let exit = call(&target, &["--header", header]).await;
            assert_eq!(exit.code, Some(2), "{target} {header}: {exit:?}");
            assert!(exit.stderr.contains("is set by gRPC itself"), "{target} {header}: {exit:?}");
        }
    }
}
