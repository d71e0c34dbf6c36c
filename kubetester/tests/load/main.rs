//! `kubetester load` and `compare` as programs, against servers that count calls and servers that misbehave.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

mod call;
mod colours;
mod compare;
mod diff;
mod encrypted;
mod expectations;
mod goaway;
mod greeter;
mod hostile;
mod interrupt;
mod limits;
mod method;
mod misbehaving;
mod misbehaving_grpc;
mod output;
mod reflection;
mod reports;
mod requests;
#[path = "../schema/mod.rs"]
mod schema;
mod schemas;
mod servers;
mod truth;

use serde_json::Value;
use service::testing::{Exit, exit_of};

const TOOL: &str = env!("CARGO_BIN_EXE_kubetester");

async fn load(target: &str, arguments: &[&str]) -> Exit {
    exit_of(TOOL, &[&["load", target], arguments].concat(), &[]).await
}

async fn compare(arguments: &[&str]) -> Exit {
    exit_of(TOOL, &[&["compare"], arguments].concat(), &[]).await
}

/// Returns the `--json` of a load that ran.
async fn result(target: &str, arguments: &[&str]) -> Value {
    let exit = load(target, &[arguments, &["--json"]].concat()).await;
    assert_eq!(exit.stderr, "");
    serde_json::from_str(&exit.stdout).unwrap_or_else(|error| panic!("{error}: {exit:?}"))
}
