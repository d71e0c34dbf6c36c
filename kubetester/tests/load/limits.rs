//! Responses that are compressed, and responses above the limits on messages, headers and trailers: over one connection
//! and over the balanced channel.

use std::{future::ready, net::SocketAddr};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, HeaderName, HeaderValue, Uri, response::Builder},
    response::Response,
};
use futures_util::stream;
use http_body_util::{BodyExt as _, Empty};
use proto::hello::{Greeting, Introduction};
use serde_json::Value;
use service::testing::exit_of;
use tonic::codec::{Codec as _, CompressionEncoding, EncodeBody, SingleMessageCompressionOverride};
use tonic_prost::ProstCodec;

use super::{
    TOOL, compare,
    greeter::protos,
    hostile::{answering, speaking_http2},
    load, result,
};

const ENCODINGS: [(&str, Option<CompressionEncoding>); 4] = [
    ("gzip", Some(CompressionEncoding::Gzip)),
    ("deflate", Some(CompressionEncoding::Deflate)),
    ("zstd", Some(CompressionEncoding::Zstd)),
    ("identity", None),
];

/// Starts a server whose messages have `size` bytes. It compresses them only for clients that accept all encodings.
async fn compressing(
    (name, encoding): (&'static str, Option<CompressionEncoding>),
    size: usize,
) -> SocketAddr {
    let answer = move |uri: Uri, headers: HeaderMap| async move {
        let response = Response::builder().header("content-type", "application/grpc");
        if headers.get("grpc-accept-encoding").is_none_or(|all| all != "gzip,deflate,zstd,identity") {
            return response.header("grpc-status", "3").body(Body::empty()).unwrap();
        }
        let count = if uri.path().ends_with("Thrice") { 3 } else { 1 };
        let messages = vec![Ok(Greeting { name: "x".repeat(size) }); count];
        let body = EncodeBody::new_server(
            ProstCodec::<Greeting, Introduction>::default().encoder(),
            stream::iter(messages),
            encoding,
            SingleMessageCompressionOverride::default(),
            None,
        );
        response.header("x-pod", "pod-a").header("grpc-encoding", name).body(Body::new(body)).unwrap()
    };
    speaking_http2(Router::new().fallback(answer)).await
}

/// Starts a server that ends each call with OK, and has so many fields of 1000 bytes in its headers or trailers.
async fn with_fields(count: usize, in_trailers: bool) -> SocketAddr {
    let answer = move |body: Body| async move {
        // A server that does not read a request resets its stream.
        drop(to_bytes(body, 1 << 20).await.unwrap());
        let value = HeaderValue::from_str(&"x".repeat(1000)).unwrap();
        let name = |number| HeaderName::try_from(format!("x-{number}")).unwrap();
        let fields = (0..count).map(|number| (name(number), value.clone()));
        let status = (HeaderName::from_static("grpc-status"), HeaderValue::from_static("9"));
        let all: HeaderMap = [status].into_iter().chain(fields).collect();
        let mut response = Response::new(Body::empty());
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        if in_trailers {
            *response.body_mut() = Body::new(Empty::new().with_trailers(ready(Some(Ok(all)))));
        } else {
            response.headers_mut().extend(all);
        }
        response
    };
    speaking_http2(Router::new().fallback(answer)).await
}

fn targets(server: SocketAddr) -> [String; 2] {
    [format!("grpc://{server}"), format!("ipv4:{server}")]
}

/// Asserts that every call fails with RESOURCE_EXHAUSTED, which is reported in one line with these words.
async fn exhausted(target: &str, more: &[&str], words: &str) {
    let exit = load(target, &[&["-n", "4", "-c", "2"], more].concat()).await;
    assert_eq!((exit.code, exit.stderr.lines().count()), (Some(3), 1), "{target}: {exit:?}");
    assert!(exit.stderr.contains("gRPC RESOURCE_EXHAUSTED: "), "{target}: {exit:?}");
    assert!(exit.stderr.contains(words), "{target}: {words}: {exit:?}");
}

#[tokio::test]
async fn compressed_responses_are_decoded() {
    let folder = protos();
    let proto = folder.path().join("helloworld.proto");
    let imports = ["--proto", proto.to_str().unwrap(), "-I", folder.path().to_str().unwrap()];
    let thrice = [&["--method", "helloworld.Greeter/SayHelloThrice"], &imports[..]].concat();
    let pod = ["-n", "4", "-c", "2", "--pod-from", "header:x-pod"];
    for encoding in ENCODINGS {
        let [plain, balanced] = targets(compressing(encoding, 3).await);
        for target in [&plain, &balanced] {
            for method in [&[][..], &thrice] {
                let result = result(target, &[&pod[..], method].concat()).await;
                assert_eq!(result["failed"], 0, "{target} {encoding:?}: {result}");
                assert_eq!(result["pods"][0]["name"], "pod-a", "{target} {encoding:?}: {result}");
            }
            let call = [&["call", target, "-n", "1"][..], &thrice].concat();
            let exit = exit_of(TOOL, &call, &[]).await;
            assert_eq!(exit.stdout.matches("\"xxx\"").count(), 3, "{target} {encoding:?}: {exit:?}");
        }
        let exit = compare(&[&[&plain[..], &balanced, "--json"][..], &pod].concat()).await;
        let document: Value = serde_json::from_str(&exit.stdout).unwrap();
        for result in document["results"].as_array().unwrap() {
            assert_eq!(result["load"]["failed"], 0, "{encoding:?}: {result}");
        }
    }
}

#[tokio::test]
async fn message_above_the_limit_is_resource_exhausted_also_if_it_is_compressed() {
    for encoding in ENCODINGS {
        for target in targets(compressing(encoding, 5 << 20).await) {
            let words = match encoding.1 {
                Some(_) => "more bytes, when decompressed, than the 4194304 of --max-message-size",
                None => "has 5242885 bytes, more than the 4194304 of --max-message-size",
            };
            exhausted(&target, &[], words).await;
            let more = result(&target, &["-n", "2", "--max-message-size", "6000000"]).await;
            assert_eq!(more["failed"], 0, "{target} {encoding:?}: {more}");
        }
    }
}

/// The beginning of a response that is compressed with Brotli.
fn brotli() -> Builder {
    Response::builder().header("content-type", "application/grpc").header("grpc-encoding", "br")
}

#[tokio::test]
async fn unknown_encoding_is_named_with_those_that_are_supported() {
    let unknown = answering(|| brotli().body(Body::from("\x01\0\0\0\x01a")).unwrap()).await;
    for target in targets(unknown) {
        let exit = load(&target, &["-n", "4", "-c", "2"]).await;
        assert_eq!((exit.code, exit.stderr.lines().count()), (Some(3), 1), "{target}: {exit:?}");
        let words = "gRPC INTERNAL: the response is compressed with br, which this client does not decode; it \
                     decodes gzip, deflate, zstd, identity";
        assert!(exit.stderr.contains(words), "{target}: {exit:?}");
    }
    // A status without a message, from a server that names the encoding all the same.
    let refusing = answering(|| brotli().header("grpc-status", "5").body(Body::empty()).unwrap()).await;
    for target in targets(refusing) {
        let exit = load(&target, &["-n", "4", "-c", "2"]).await;
        assert!(exit.stderr.contains("gRPC NOT_FOUND"), "{target}: {exit:?}");
    }
}

#[tokio::test]
async fn headers_or_trailers_above_the_limit_name_it() {
    for (count, in_trailers) in [(17, false), (17, true), (300, true)] {
        for target in targets(with_fields(count, in_trailers).await) {
            exhausted(&target, &["--max-header-list-size", "16384"], "--max-header-list-size").await;
            let exit = load(&target, &["-n", "4", "--max-header-list-size", "1000000"]).await;
            assert!(exit.stderr.contains("gRPC FAILED_PRECONDITION"), "{target} {count}: {exit:?}");
        }
    }
    // Headers above HTTP/2's own limit.
    let [plain, balanced] = targets(with_fields(300, false).await);
    exhausted(&balanced, &["--max-header-list-size", "16384"], "--max-header-list-size").await;
    let exit = load(&plain, &["-n", "4", "--max-header-list-size", "16384"]).await;
    assert!(exit.stderr.contains("headers or trailers far above --max-header-list-size"), "{exit:?}");
}

#[tokio::test]
async fn grpc_limits_for_an_http_target_are_bad_usage() {
    let exit = load("http://127.0.0.1:9/", &["-n", "1", "--max-message-size", "1000"]).await;
    assert_eq!(exit.code, Some(2), "{exit:?}");
    assert!(exit.stderr.contains("--max-message-size and --max-header-list-size are for gRPC"), "{exit:?}");
}
