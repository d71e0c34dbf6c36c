//! `grpc.health.v1.Health`, through tonic-health's client.

use hellogrpc::Config;
use service::testing::bounded;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    Running,
    http2_frames::{DATA, FrameStream, GOAWAY, HEADERS, PING},
};

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.into() }
}

#[tokio::test]
async fn the_server_and_each_service_are_serving() {
    let running = Running::start(Config::default()).await;
    let mut client = HealthClient::new(running.channel().await);
    for service in ["", "hello.Hello", "helloworld.Greeter", "echo.EchoServer", "message.Echo"] {
        let answer = bounded(client.check(of(service))).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    let status = bounded(client.check(of("hello.Other"))).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn a_draining_server_is_not_serving() {
    let running = Running::start(Config::default()).await;
    let mut client = HealthClient::new(running.channel().await);
    let mut watch = bounded(client.watch(of("hello.Hello"))).await.unwrap().into_inner();
    let mut next = async || bounded(watch.message()).await.unwrap().map(|it| it.status());
    assert_eq!(next().await, Some(ServingStatus::Serving));

    running.trigger.drain();
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    for service in ["", "hello.Hello", "echo.EchoServer"] {
        let answer = bounded(client.check(of(service))).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::NotServing, "{service:?}");
    }

    // An open watch would keep the server from ending.
    running.trigger.close();
    assert_eq!(next().await, None);
    bounded(running.serving).await.unwrap();
}

#[tokio::test]
async fn a_watch_gets_not_serving_when_the_server_closes_without_a_drain_delay() {
    let running = Running::start(Config::default()).await;
    let mut client = HealthClient::new(running.channel().await);
    let mut watch = bounded(client.watch(of(""))).await.unwrap().into_inner();
    let mut next = async || bounded(watch.message()).await.unwrap().map(|it| it.status());
    assert_eq!(next().await, Some(ServingStatus::Serving));
    running.trigger.close();
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    assert_eq!(next().await, None);
    bounded(running.serving).await.unwrap();
}

#[tokio::test]
async fn a_watch_of_a_closing_server_ends_after_not_serving_on_a_connection_with_goaway() {
    let running = Running::start(Config::default()).await;
    let mut frames = FrameStream::connect(running.addr).await;
    let watch = frames.start_call("/grpc.health.v1.Health/Watch", &[0; 5]).await;
    let message = |status: ServingStatus| [0, 0, 0, 0, 2, 8, status as u8];
    assert_eq!(frames.next().await.unwrap().kind, HEADERS);
    assert_eq!(frames.next().await.unwrap().payload, message(ServingStatus::Serving));

    running.trigger.close();
    let (mut on_watch, mut goaways) = (Vec::new(), Vec::new());
    while let Some(frame) = frames.next().await {
        match frame.kind {
            PING => frames.ping(true, frame.payload.try_into().unwrap()).await,
            GOAWAY => goaways.push(frame.goaway()),
            _ => on_watch.push(frame),
        }
    }
    let [status, trailers] = &on_watch[..] else { panic!("{on_watch:?}") };
    assert_eq!((status.kind, &status.payload[..]), (DATA, &message(ServingStatus::NotServing)[..]));
    assert_eq!((trailers.kind, trailers.stream), (HEADERS, watch));
    assert_eq!(goaways.last(), Some(&(watch, 0)));
    bounded(running.serving).await.unwrap();
}
