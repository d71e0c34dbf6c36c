//! The life of connections: GOAWAY, age, grace, pings (gRFC A8 and A9), frame by frame.

use std::time::Duration;

use hellogrpc::Config;
use service::{
    grpc::ServerConfig,
    http::ConnectionConfig,
    testing::{Client, bounded},
};

use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
};

use crate::{
    Running, greeting,
    http2_frames::{FrameStream, GOAWAY, PING},
    introduction,
};

const NO_ERROR: u32 = 0;
const LAST_POSSIBLE_STREAM: u32 = (1 << 31) - 1;
const CALL: (&str, &[u8]) = ("/hello.Hello/SayHello", b"\x00\x00\x00\x00\x05\x0a\x03Ann");

fn connections(connections: ConnectionConfig) -> ServerConfig {
    ServerConfig { connections, ..ServerConfig::default() }
}

#[tokio::test]
async fn a_closing_server_sends_goaway_and_answers_calls_in_flight() {
    let running =
        Running::start(Config { response_delay: Duration::from_millis(300), ..Config::default() }).await;
    let mut frames = FrameStream::connect(running.addr).await;
    let stream = frames.start_call(CALL.0, CALL.1).await;
    running.counted(r#"grpc_server_in_flight{grpc_method="hello.Hello/SayHello"} 1"#).await;

    running.trigger.close();
    // The first GOAWAY announces the end. Calls that arrive before the answer to the PING are still accepted.
    assert_eq!(frames.next().await.unwrap().goaway(), (LAST_POSSIBLE_STREAM, NO_ERROR));
    let ping = frames.next().await.unwrap();
    assert_eq!((ping.kind, ping.is_ack()), (PING, false));
    let late = frames.start_call(CALL.0, CALL.1).await;
    frames.ping(true, ping.payload.try_into().unwrap()).await;
    assert_eq!(frames.next().await.unwrap().goaway(), (late, NO_ERROR));

    for stream in [stream, late] {
        let body = frames.body(stream).await;
        assert!(body.ends_with(b"pod-1"), "{body:?}");
    }
    assert_eq!(frames.next().await, None);
    bounded(running.serving).await.unwrap();
    assert!(TcpStream::connect(running.addr).await.is_err());
}

/// Otherwise it would be used for calls that are cut off at the end of the program.
#[tokio::test]
async fn connection_without_a_call_gets_goaway_at_once_from_a_closing_server() {
    for accepted in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        // The kernel completes connections before the server accepts them.
        let mut http1 = bounded(TcpStream::connect(addr)).await.unwrap();
        let mut frames = FrameStream::connect(addr).await;
        let running = Running::serve(Config::default(), listener);
        if accepted {
            frames.ping(false, [1; 8]).await;
            assert_eq!(frames.next().await.unwrap().kind, PING);
        }
        running.trigger.close();
        // HTTP/1 has no GOAWAY, so an unused connection stays open for another second.
        let mut byte = [0];
        tokio::select! {
            biased;
            ended = http1.read(&mut byte) => panic!("the HTTP/1 connection ended first: {ended:?}"),
            frame = frames.next() => assert_eq!(frame.unwrap().goaway(), (LAST_POSSIBLE_STREAM, NO_ERROR)),
        }
        let ping = frames.next().await.unwrap();
        frames.ping(true, ping.payload.try_into().unwrap()).await;
        assert_eq!(frames.next().await.unwrap().goaway(), (0, NO_ERROR));
        assert_eq!(frames.next().await, None);
        bounded(running.serving).await.unwrap();
    }
}

#[tokio::test]
async fn an_old_connection_gets_goaway_and_its_calls_are_answered() {
    let config = Config {
        server: connections(ConnectionConfig {
            max_connection_age: Duration::from_millis(100),
            ..ConnectionConfig::default()
        }),
        response_delay: Duration::from_millis(400),
        ..Config::default()
    };
    let running = Running::start(config).await;
    let mut frames = FrameStream::connect(running.addr).await;
    let stream = frames.start_call(CALL.0, CALL.1).await;
    assert_eq!(frames.next().await.unwrap().goaway(), (LAST_POSSIBLE_STREAM, NO_ERROR));
    let ping = frames.next().await.unwrap();
    frames.ping(true, ping.payload.try_into().unwrap()).await;
    assert_eq!(frames.next().await.unwrap().goaway(), (stream, NO_ERROR));
    assert!(frames.body(stream).await.ends_with(b"pod-1"));
    assert_eq!(frames.next().await, None);
    // The server accepts new connections.
    let answer = bounded(running.client().await.say_hello(greeting("Ann"))).await.unwrap();
    assert_eq!(answer.into_inner(), introduction("Ann"));
}

#[tokio::test]
async fn an_old_connection_is_cut_off_after_its_grace() {
    let config = Config {
        server: connections(ConnectionConfig {
            max_connection_age: Duration::from_millis(50),
            max_connection_age_grace: Duration::from_millis(50),
            ..ConnectionConfig::default()
        }),
        response_delay: Duration::from_secs(3600),
        ..Config::default()
    };
    let running = Running::start(config).await;
    let mut frames = FrameStream::connect(running.addr).await;
    frames.start_call(CALL.0, CALL.1).await;
    assert_eq!(frames.next().await.unwrap().kind, GOAWAY);
    while frames.next().await.is_some_and(|frame| [PING, GOAWAY].contains(&frame.kind)) {}
    let canceled = r#"grpc_server_handled_total{grpc_code="Canceled",grpc_method="hello.Hello/SayHello"} 1"#;
    running.counted(canceled).await;
}

#[tokio::test]
async fn a_silent_client_gets_a_ping_and_loses_the_connection_without_an_answer() {
    let config = Config {
        server: connections(ConnectionConfig {
            keepalive_time: Duration::from_millis(50),
            keepalive_timeout: Duration::from_millis(100),
            ..ConnectionConfig::default()
        }),
        ..Config::default()
    };
    let running = Running::start(config).await;
    let mut frames = FrameStream::connect(running.addr).await;
    for _ in 0..2 {
        let ping = frames.next().await.unwrap();
        assert_eq!((ping.kind, ping.is_ack()), (PING, false));
        frames.ping(true, ping.payload.try_into().unwrap()).await;
    }
    // Without an answer, the server closes the connection.
    assert_eq!(frames.next().await.unwrap().kind, PING);
    while frames.next().await.is_some_and(|frame| frame.kind == GOAWAY) {}
}

/// hyper enforces no minimum between a client's pings: each is answered before the next is read.
#[tokio::test]
async fn each_ping_of_a_client_is_answered() {
    let running = Running::start(Config::default()).await;
    let mut frames = FrameStream::connect(running.addr).await;
    for count in 0..100_u64 {
        frames.ping(false, count.to_be_bytes()).await;
        let pong = frames.next().await.unwrap();
        assert_eq!((pong.kind, pong.is_ack()), (PING, true));
        assert_eq!(pong.payload, count.to_be_bytes());
    }
}

#[tokio::test]
async fn request_that_is_not_grpc_gets_a_problem() {
    let running = Running::start(Config::default()).await;
    let mut client = Client::connect(running.addr).await;
    let answer = client.get("/hello.Hello/SayHello").await;
    assert_eq!((answer.status, answer.problem()["status"].as_u64()), (415, Some(415)));
}

#[tokio::test]
async fn streams_over_the_limit_wait_for_their_turn() {
    let config = Config {
        server: connections(ConnectionConfig { max_concurrent_streams: 2, ..ConnectionConfig::default() }),
        response_delay: Duration::from_millis(20),
        ..Config::default()
    };
    let running = Running::start(config).await;
    let mut client = running.client().await;
    // Before the server's SETTINGS arrive, a client assumes a limit, and some of its streams are refused.
    bounded(client.say_hello(greeting("Ann"))).await.unwrap();
    let calls = (0..20).map(|_| {
        let mut client = client.clone();
        tokio::spawn(async move { client.say_hello(greeting("Ann")).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(bounded(call).await.unwrap().unwrap().into_inner(), introduction("Ann"));
    }
}

/// As when the deadlines of all calls pass together.
#[tokio::test]
async fn a_client_that_resets_all_of_its_calls_keeps_the_connection() {
    let running = Running::start(Config {
        server: connections(ConnectionConfig { max_concurrent_streams: 100, ..ConnectionConfig::default() }),
        ..Config::default()
    })
    .await;
    let mut frames = FrameStream::connect(running.addr).await;
    frames.start_and_reset(CALL.0, 100).await;
    let body = frames.call(CALL.0, CALL.1).await;
    assert!(body.ends_with(b"pod-1"), "{body:?}");
}
