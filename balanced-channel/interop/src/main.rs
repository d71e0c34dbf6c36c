//! The client of the [gRPC interop test descriptions] on a balanced channel. Runs the cases that apply to a channel,
//! and two cases about keepalive that are not in that list, and prints the result of each. The exit status is 1 if a
//! case fails.
//!
//! [gRPC interop test descriptions]: https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md

mod keepalive;
mod metadata;
mod status;
mod stopping;
mod streaming;
mod unary;

use std::{error::Error, fmt::Debug, future::Future, pin::Pin, process::ExitCode, time::Duration};

use balanced_channel::Channel;
use clap::Parser;
use tokio::time::timeout;
use tonic::Code;

use crate::proto::test_service_client::TestServiceClient;

/// Package `grpc.testing`.
#[allow(missing_docs, unreachable_pub, clippy::unwrap_used)]
mod proto {
    tonic::include_proto!("grpc.testing");
}

type Client = TestServiceClient<Channel>;
type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
type Case = fn(Channel) -> Pin<Box<dyn Future<Output = Result>>>;

/// The time limit of a case.
const CASE_TIMEOUT: Duration = Duration::from_secs(30);

/// Every case, by its published name.
const CASES: [(&str, Case); 15] = [
    ("empty_unary", |channel| Box::pin(unary::empty_unary(channel))),
    ("large_unary", |channel| Box::pin(unary::large_unary(channel))),
    ("client_streaming", |channel| Box::pin(streaming::client_streaming(channel))),
    ("server_streaming", |channel| Box::pin(streaming::server_streaming(channel))),
    ("ping_pong", |channel| Box::pin(streaming::ping_pong(channel))),
    ("empty_stream", |channel| Box::pin(streaming::empty_stream(channel))),
    ("custom_metadata", |channel| Box::pin(metadata::custom_metadata(channel))),
    ("status_code_and_message", |channel| Box::pin(status::status_code_and_message(channel))),
    ("special_status_message", |channel| Box::pin(status::special_status_message(channel))),
    ("unimplemented_method", |channel| Box::pin(status::unimplemented_method(channel))),
    ("unimplemented_service", |channel| Box::pin(status::unimplemented_service(channel))),
    ("cancel_after_begin", |channel| Box::pin(stopping::cancel_after_begin(channel))),
    ("timeout_on_sleeping_server", |channel| Box::pin(stopping::timeout_on_sleeping_server(channel))),
    ("quiet_streams", |channel| Box::pin(keepalive::quiet_streams(channel))),
    ("too_many_pings", |channel| Box::pin(keepalive::too_many_pings(channel))),
];

/// Runs gRPC interop cases against a server.
#[derive(Parser)]
struct Flags {
    /// The server's host.
    #[arg(long = "server_host", default_value = "127.0.0.1")]
    host: String,
    /// The server's port.
    #[arg(long = "server_port")]
    port: u16,
    /// The case to run, or `all`.
    #[arg(long = "test_case", default_value = "all")]
    case: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let flags = Flags::parse();
    let target = format!("dns:///{}:{}", flags.host, flags.port);
    let chosen: Vec<_> =
        CASES.iter().filter(|(name, _)| flags.case == "all" || flags.case == *name).collect();
    if chosen.is_empty() {
        eprintln!("interop: there is no case {:?}", flags.case);
        return ExitCode::FAILURE;
    }
    let mut failed = 0;
    for (name, case) in &chosen {
        match run(&target, *case).await {
            Ok(()) => println!("ok      {name}"),
            Err(error) => {
                failed += 1;
                println!("FAILED  {name}: {error}");
            }
        }
    }
    println!("{} of {} cases hold", chosen.len() - failed, chosen.len());
    ExitCode::from(u8::from(failed > 0))
}

/// Runs a case on a channel of its own.
async fn run(target: &str, case: Case) -> Result {
    let channel = Channel::new(target)?;
    timeout(CASE_TIMEOUT, case(channel))
        .await
        .unwrap_or_else(|_| Err(format!("not done after {CASE_TIMEOUT:?}").into()))
}

/// Returns a payload of `size` zeros.
fn zeros(size: usize) -> Option<proto::Payload> {
    Some(proto::Payload { body: vec![0; size], ..Default::default() })
}

/// Fails unless the payload is `size` zeros.
fn expect_zeros(payload: Option<&proto::Payload>, size: usize) -> Result {
    let body = payload.map_or(&[][..], |payload| &payload.body);
    expect("the size of the payload", body.len(), size)?;
    expect("whether the payload is zeros", body.iter().all(|byte| *byte == 0), true)
}

/// Fails with a message unless `found` is `wanted`.
#[expect(clippy::needless_pass_by_value, reason = "most values are numbers and made for the call")]
fn expect<T: PartialEq + Debug>(what: &str, found: T, wanted: T) -> Result {
    if found == wanted {
        return Ok(());
    }
    Err(format!("{what} is {found:?} and should be {wanted:?}").into())
}

/// Fails unless a call failed with `code`.
fn expect_code<T>(answer: std::result::Result<T, tonic::Status>, code: Code) -> Result<tonic::Status> {
    let status = answer.err().ok_or_else(|| format!("the call succeeded and should be {code:?}"))?;
    expect("the status", status.code(), code).map_err(|error| format!("{error}: {}", status.message()))?;
    Ok(status)
}
