//! `kubetester demo --with ticketing`.

use std::{
    future::pending,
    path::{Path, PathBuf},
};

use super::{BOLD, COULD_NOT_RUN, CliError, show as print};
use crate::demo::ticketing::{self, Ticketing};

/// Returns the program's file.
pub(super) fn program() -> Result<PathBuf, CliError> {
    ticketing::program().map_err(|why| CliError::new(COULD_NOT_RUN, why))
}

/// Starts the programs.
pub(super) async fn start(program: &Path) -> Result<Ticketing, CliError> {
    Ticketing::start(program).await.map_err(|why| CliError::new(COULD_NOT_RUN, why))
}

/// Shows the programs and the first calls to them, and returns a sentence when the calls failed.
pub(super) async fn show(ticketing: &Ticketing, once: bool) -> Result<Option<String>, CliError> {
    let mut text = format!("{BOLD}ticketing{BOLD:#}, two programs on one SQLite file, called in turn\n");
    for (name, address) in ticketing.pods() {
        text.push_str(&format!("  {BOLD}{name:<13}{BOLD:#} {address}\n"));
    }
    let unmet = match ticketing.first_calls().await {
        Ok(calls) => {
            for call in calls {
                let line = format!("  {:<37} {:<21} from {}\n", call.request, call.answer, call.pod);
                text.push_str(&line);
            }
            None
        }
        Err(why) => Some(why),
    };
    if !once {
        let call = format!("kubetester call {} --every 0", ticketing.target());
        text.push_str(&format!(
            "  {call} -n 4 --method ticketing.CustomerController/GetCustomer -d '{{\"id\": \"1\"}}'\n  \
             {call} -n 1 --method ticketing.CustomerController/ListCustomers\n"
        ));
    }
    print(&text)?;
    Ok(unmet)
}

/// Waits until one of the programs, if there are any, ends by itself, and returns a sentence about it.
pub(super) async fn failed(ticketing: Option<&mut Ticketing>) -> String {
    match ticketing {
        Some(ticketing) => ticketing.failed().await,
        None => pending().await,
    }
}
