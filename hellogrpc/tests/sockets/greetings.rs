//! The greeting protocols beside `hello.Hello`: messages, headers, trailers.

use std::time::Duration;

use hellogrpc::Config;
use proto::{
    echo::{EchoReply, EchoRequest, echo_server_client::EchoServerClient},
    hello::hello_client::HelloClient,
    helloworld::{HelloRequest, greeter_client::GreeterClient},
    message::{self, EchoResponse, echo_client::EchoClient},
};
use service::{grpc::ServerConfig, testing::bounded};
use tonic::{Code, Request, Status, metadata::MetadataMap};

use crate::{Running, greeting, http2_frames::FrameStream};

const NAMES: [&str; 4] = ["", "Ann", "Jürgen & Søn", "\"\\\n\0🦀"];
const HOUR: Duration = Duration::from_secs(3600);

fn echo_request(name: &str) -> EchoRequest {
    EchoRequest { name: name.into() }
}

fn value<'a>(metadata: &'a MetadataMap, key: &str) -> Option<&'a str> {
    metadata.get(key).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn helloworld_greeter_answers_hello_name() {
    let running = Running::start(Config::default()).await;
    let mut client = GreeterClient::new(running.channel().await);
    for name in NAMES {
        let answer = bounded(client.say_hello(HelloRequest { name: name.into() })).await.unwrap();
        assert_eq!(value(answer.metadata(), "hostname"), Some("pod-1"));
        assert_eq!(answer.into_inner().message, format!("Hello {name}"));
    }
}

#[tokio::test]
async fn message_echo_returns_the_message_and_the_pod() {
    let running = Running::start(Config::default()).await;
    let mut client = EchoClient::new(running.channel().await);
    for name in NAMES {
        let answer =
            bounded(client.echo_message(message::EchoRequest { message: name.into() })).await.unwrap();
        assert_eq!(value(answer.metadata(), "hostname"), Some("pod-1"));
        assert_eq!(answer.into_inner(), EchoResponse { message: name.into(), server_id: "pod-1".into() });
    }
}

#[tokio::test]
async fn echo_say_hello_has_its_header_and_its_trailer() {
    let running = Running::start(Config::default()).await;
    let mut client = EchoServerClient::new(running.channel().await);
    for name in NAMES {
        let answer = bounded(client.say_hello(echo_request(name))).await.unwrap();
        // tonic's client puts the trailers of a unary call beside its headers.
        for (key, expected) in [("rpcheaderkey", "val"), ("rpctrailerkey", "val"), ("hostname", "pod-1")] {
            assert_eq!(value(answer.metadata(), key), Some(expected), "{key}");
        }
        assert_eq!(answer.into_inner().message, format!("Hello {name}  from hostname pod-1"));
    }
}

#[tokio::test]
async fn echo_stream_has_two_messages_between_its_header_and_its_trailer() {
    let running = Running::start(Config::default()).await;
    let mut client = EchoServerClient::new(running.channel().await);
    for name in NAMES {
        let answer = bounded(client.say_hello_stream(echo_request(name))).await.unwrap();
        assert_eq!(value(answer.metadata(), "streamheaderkey"), Some("val"));
        assert_eq!(value(answer.metadata(), "streamtrailerkey"), None);
        assert_eq!(value(answer.metadata(), "hostname"), Some("pod-1"));
        let mut stream = answer.into_inner();
        for number in 1..=2 {
            let expected = EchoReply { message: format!("Msg{number} {name}") };
            assert_eq!(bounded(stream.message()).await.unwrap(), Some(expected));
        }
        assert_eq!(bounded(stream.message()).await.unwrap(), None);
        let trailers = bounded(stream.trailers()).await.unwrap().unwrap();
        assert_eq!(value(&trailers, "streamtrailerkey"), Some("val"));
        assert_eq!(value(&trailers, "streamheaderkey"), None);
    }
}

/// The bytes of each answer, as other implementations of these protocols send them.
#[tokio::test]
async fn answers_are_the_protocols_bytes() {
    let running = Running::start(Config::default()).await;
    let mut frames = FrameStream::connect(running.addr).await;
    let ann = b"\x00\x00\x00\x00\x05\x0a\x03Ann";
    for (path, expected) in [
        ("/helloworld.Greeter/SayHello", &b"\x00\x00\x00\x00\x0b\x0a\x09Hello Ann"[..]),
        ("/echo.EchoServer/SayHello", b"\x00\x00\x00\x00\x20\x0a\x1eHello Ann  from hostname pod-1"),
        (
            "/echo.EchoServer/SayHelloStream",
            b"\x00\x00\x00\x00\x0a\x0a\x08Msg1 Ann\x00\x00\x00\x00\x0a\x0a\x08Msg2 Ann",
        ),
        ("/message.Echo/EchoMessage", b"\x00\x00\x00\x00\x0c\x0a\x03Ann\x12\x05pod-1"),
    ] {
        assert_eq!(frames.call(path, ann).await, expected, "{path}");
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String, Option<String>) {
    let status = result.unwrap_err();
    let hostname = value(status.metadata(), "hostname").map(str::to_owned);
    (status.code(), status.message().to_owned(), hostname)
}

#[tokio::test]
async fn a_request_over_the_size_limit_is_out_of_range_on_every_method() {
    let server = ServerConfig { max_message_size: 1000, ..ServerConfig::default() };
    let running = Running::start(Config { server, ..Config::default() }).await;
    let channel = running.channel().await;
    let name = "x".repeat(1000);
    let expected = (
        Code::OutOfRange,
        "Error, decoded message length too large: found 1003 bytes, the limit is: 1000 bytes".to_owned(),
        Some("pod-1".to_owned()),
    );
    let mut hello = HelloClient::new(channel.clone());
    assert_eq!(refused(bounded(hello.say_hello(greeting(&name))).await), expected);
    let mut greeter = GreeterClient::new(channel.clone());
    assert_eq!(refused(bounded(greeter.say_hello(HelloRequest { name: name.clone() })).await), expected);
    let mut echo = EchoServerClient::new(channel.clone());
    assert_eq!(refused(bounded(echo.say_hello(echo_request(&name))).await), expected);
    assert_eq!(refused(bounded(echo.say_hello_stream(echo_request(&name))).await), expected);
    let mut message = EchoClient::new(channel.clone());
    assert_eq!(
        refused(bounded(message.echo_message(message::EchoRequest { message: name })).await),
        expected
    );

    // The connection serves on.
    assert!(bounded(hello.say_hello(greeting("Ann"))).await.is_ok());
}

#[tokio::test]
async fn an_answer_over_the_size_limit_is_out_of_range() {
    let server = ServerConfig { max_message_size: 1000, ..ServerConfig::default() };
    let running = Running::start(Config { server, ..Config::default() }).await;
    let name = "x".repeat(995);
    let mut echo = EchoServerClient::new(running.channel().await);
    let (code, message, _) = refused(bounded(echo.say_hello(echo_request(&name))).await);
    assert_eq!(code, Code::OutOfRange, "{message}");
    let mut stream = bounded(echo.say_hello_stream(echo_request(&name))).await.unwrap().into_inner();
    let (code, message, _) = refused(bounded(stream.message()).await);
    assert_eq!(code, Code::OutOfRange, "{message}");
}

#[tokio::test]
async fn bytes_that_are_no_message_are_internal_and_an_unknown_method_is_unimplemented() {
    let running = Running::start(Config::default()).await;
    let mut frames = FrameStream::connect(running.addr).await;
    for (path, code, message) in [
        ("/helloworld.Greeter/SayHello", "Internal", &b"\x00\x00\x00\x00\x02\x0a\xff"[..]),
        ("/echo.EchoServer/SayHelloStream", "Internal", b"\x00\x00\x00\x00\x03\x0a\x01\xff"),
        ("/message.Echo/EchoMessage", "Internal", b"\x00\x00\x00\x00\x02\x0a\xff"),
    ] {
        assert_eq!(frames.call(path, message).await, b"", "{path}");
        let method = &path[1..];
        let line = format!("grpc_server_handled_total{{grpc_code=\"{code}\",grpc_method=\"{method}\"}} 1");
        running.counted(&line).await;
    }
    for path in ["/helloworld.Greeter/SayGoodbye", "/echo.EchoServer/SayGoodbye", "/message.Echo/Shout"] {
        // The server may reset the stream after its answer, because it does not read the message.
        let mut frames = FrameStream::connect(running.addr).await;
        assert_eq!(frames.call(path, b"").await, b"", "{path}");
    }
    running.counted(r#"grpc_server_handled_total{grpc_code="Unimplemented",grpc_method="unknown"} 3"#).await;
}

#[tokio::test]
async fn a_stream_past_its_deadline_is_deadline_exceeded() {
    let running = Running::start(Config { response_delay: HOUR, ..Config::default() }).await;
    let mut frames = FrameStream::connect(running.addr).await;
    let path = "/echo.EchoServer/SayHelloStream";
    let stream = frames.start_call_within(path, "20m", b"\x00\x00\x00\x00\x00").await;
    assert_eq!(frames.body(stream).await, b"");
    let line = r#"grpc_server_handled_total{grpc_code="DeadlineExceeded",grpc_method="echo.EchoServer/SayHelloStream"} 1"#;
    running.counted(line).await;
}

#[tokio::test]
async fn an_open_stream_ends_with_unavailable_after_the_grace_of_a_closing_server() {
    let config =
        Config { response_delay: HOUR, stream_grace: Duration::from_millis(200), ..Config::default() };
    let running = Running::start(config).await;
    let mut client = EchoServerClient::new(running.channel().await);
    let mut stream = bounded(client.say_hello_stream(echo_request("Ann"))).await.unwrap().into_inner();
    running.trigger.close();
    let status = bounded(stream.message()).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "the server is stopping: open the stream again")
    );
    bounded(running.serving).await.unwrap();
}

#[tokio::test]
async fn an_open_stream_is_completed_when_it_ends_within_the_grace() {
    let config =
        Config { response_delay: Duration::from_millis(100), stream_grace: HOUR, ..Config::default() };
    let running = Running::start(config).await;
    let mut client = EchoServerClient::new(running.channel().await);
    let mut stream = bounded(client.say_hello_stream(echo_request("Ann"))).await.unwrap().into_inner();
    running.trigger.close();
    for expected in ["Msg1 Ann", "Msg2 Ann"] {
        assert_eq!(bounded(stream.message()).await.unwrap().unwrap().message, expected);
    }
    assert_eq!(bounded(stream.message()).await.unwrap(), None);
    bounded(running.serving).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_its_client_drops_counts_as_canceled() {
    let running = Running::start(Config { response_delay: HOUR, ..Config::default() }).await;
    let mut client = EchoServerClient::new(running.channel().await);
    let stream = bounded(client.say_hello_stream(Request::new(echo_request("Ann")))).await.unwrap();
    let subject = r#"grpc_method="echo.EchoServer/SayHelloStream""#;
    running.counted(&format!("grpc_server_in_flight{{{subject}}} 1")).await;
    drop(stream);
    running.counted(&format!("grpc_server_handled_total{{grpc_code=\"Canceled\",{subject}}} 1")).await;
}
