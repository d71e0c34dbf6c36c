//! `kubetester drill` as a program: its effects on its own system, its findings, and that it leaves nothing behind.

#![cfg(target_os = "linux")] // Each pod has a loopback address of its own.
#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

mod expectations;
mod left_behind;
mod on_compose;
mod on_processes;
mod scenarios;
#[path = "../schema/mod.rs"]
mod schema;

use serde_json::Value;
use service::testing::{Exit, exit_of};

const TOOL: &str = env!("CARGO_BIN_EXE_kubetester");

/// Short times, which keep the tests short.
const TIMES: [&str; 6] = ["--steady", "300ms", "--outage", "900ms", "--settle", "200ms"];

async fn drill(arguments: &[&str]) -> Exit {
    exit_of(TOOL, &[&["drill"], arguments, &TIMES].concat(), &[]).await
}

/// Returns the `--json` of a drill whose expectations held, checked against the published schema.
async fn result(arguments: &[&str]) -> Value {
    let exit = drill(&[arguments, &["--json"]].concat()).await;
    assert_eq!((exit.code, exit.stderr.as_str()), (Some(0), ""), "{exit:?}");
    schema::check("kubetester.drill-1", &exit.stdout);
    serde_json::from_str(&exit.stdout).unwrap_or_else(|error| panic!("{error}: {exit:?}"))
}
