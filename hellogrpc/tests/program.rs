//! hellogrpc as a process.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{net::TcpListener, time::Duration};

use proto::hello::{Greeting, Introduction, hello_client::HelloClient};
use service::testing::{Client, Exit, Running, Signal, bounded, exit_of};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const EXE: &str = env!("CARGO_BIN_EXE_hellogrpc");

async fn channel(running: &Running) -> Channel {
    bounded(Endpoint::new(format!("http://{}", running.listen)).unwrap().connect()).await.unwrap()
}

#[tokio::test]
async fn environment_sets_the_version_and_the_hostname_of_answers() {
    let running = Running::start(EXE, &[("POD_NAME", "pod-7"), ("APP_VERSION", "v2")]).await;
    let mut client = HelloClient::new(channel(&running).await);
    let answer = bounded(client.say_hello(Greeting { name: "Ann".into() })).await.unwrap().into_inner();
    let expected = Introduction { name: "Ann".into(), version: "v2".into(), hostname: "pod-7".into() };
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn calls_in_flight_are_answered_before_the_program_ends() {
    let running = Running::start(EXE, &[("RESPONSE_DELAY", "300ms")]).await;
    let channel = channel(&running).await;
    // An open health watch does not delay the exit.
    let watch = HealthCheckRequest { service: String::new() };
    let _watch = bounded(HealthClient::new(channel.clone()).watch(watch)).await.unwrap();
    let mut client = HelloClient::new(channel);
    let call = tokio::spawn(async move { client.say_hello(Greeting::default()).await });
    let mut admin = Client::connect(running.admin).await;
    bounded(async {
        let line = "grpc_server_in_flight{grpc_method=\"hello.Hello/SayHello\"} 1";
        while !admin.get("/metrics").await.body.contains(line) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    running.signal(Signal::TERM);
    bounded(call).await.unwrap().unwrap();
    assert_eq!(running.exit().await.code, Some(0));
}

#[tokio::test]
async fn a_port_in_use_is_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let env = [("LISTEN_ADDR", addr.as_str()), ("ADMIN_ADDR", "")];
    let exit = exit_of(EXE, &[], &env).await;
    let line = format!(
        "hellogrpc: cannot listen on {addr}: Address already in use (os error 98); \
         stop the program that holds the port, or choose another with --listen-addr\n"
    );
    assert_eq!(exit, Exit { code: Some(1), stderr: line, stdout: String::new() });
}

#[tokio::test]
async fn a_bad_flag_is_one_line_that_names_it() {
    for (name, value) in [
        ("MAX_CONNECTION_AGE", "never"),
        ("MAX_CONNECTION_AGE_GRACE", "1"),
        ("KEEPALIVE_TIME", "-1s"),
        ("KEEPALIVE_TIMEOUT", "x"),
        ("MAX_CONCURRENT_STREAMS", "0"),
        ("MAX_CONNECTIONS", "0"),
        ("MAX_CONCURRENT_CALLS", "x"),
        ("MAX_HEADER_LIST_SIZE", "16KiB"),
        ("MAX_MESSAGE_SIZE", "-1"),
        ("RESPONSE_DELAY", "long"),
        ("STREAM_GRACE", "10"),
    ] {
        let exit = exit_of(EXE, &[], &[(name, value)]).await;
        assert_eq!((exit.code, exit.stderr.lines().count()), (Some(2), 1), "{}", exit.stderr);
        let (value, name) = (format!("'{value}'"), format!("<{name}>"));
        assert!(exit.stderr.contains(&value) && exit.stderr.contains(&name), "{}", exit.stderr);
    }
}

#[tokio::test]
async fn a_hostname_that_no_header_can_carry_is_one_line() {
    let env =
        [("LISTEN_ADDR", "127.0.0.1:0"), ("ADMIN_ADDR", ""), ("LOG_FILTER", "off"), ("POD_NAME", "pod\n1")];
    let exit = exit_of(EXE, &[], &env).await;
    let line = "hellogrpc: the hostname \"pod\\n1\" cannot be sent in a header: \
                set POD_NAME to visible ASCII characters\n";
    assert_eq!(exit, Exit { code: Some(1), stderr: line.into(), stdout: String::new() });
}
