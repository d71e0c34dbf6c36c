//! Prints a result to standard output in the requested format.

use std::{
    fmt::Display,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{COULD_NOT_RUN, CliError, USAGE};
use crate::{
    pod_name::PodSource,
    render::machines::{self, Row},
};

/// The format of a result.
#[derive(Debug, Args)]
pub(super) struct Output {
    /// Print the result in this format [default: text]
    #[arg(short = 'o', long, value_name = "FORMAT", conflicts_with = "json")]
    output: Option<Format>,

    /// Print the result as one JSON document; the same as --output json
    #[arg(long)]
    json: bool,

    /// With --json: include the data of a report's plots (the calls over time and a histogram of the latencies)
    #[arg(long)]
    details: bool,
}

/// The formats of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text for people
    Text,
    /// One document, see docs/json.md
    Json,
    /// JUnit XML: a test case for each expectation
    Junit,
    /// A header and a line for each target
    Csv,
}

/// A result that can be printed in every format.
pub(super) trait Printed: Serialize {
    /// Returns the text for people.
    fn page(&self) -> String;

    /// Returns a row for each target.
    fn rows(&self) -> Vec<Row<'_>>;

    /// Removes the data that only plots need.
    fn without_details(&mut self);
}

// === impl Output ===

impl Output {
    /// Returns an error if the flags cannot be combined.
    pub(super) fn check(&self) -> Result<(), CliError> {
        if self.details && self.format() != Format::Json {
            return Err(CliError::new(USAGE, "--details needs --json; a --report always has the details"));
        }
        Ok(())
    }

    /// Prints a result in the requested format.
    pub(super) fn print(&self, result: &mut impl Printed) -> Result<(), CliError> {
        if !self.details {
            result.without_details();
        }
        let text = match self.format() {
            Format::Text => result.page(),
            Format::Json => json(result)?,
            Format::Junit => machines::junit(&result.rows()),
            Format::Csv => machines::csv(&result.rows()),
        };
        write(text.as_bytes())
    }

    /// Returns whether the result is printed as text.
    pub(super) fn is_text(&self) -> bool {
        self.format() == Format::Text
    }

    fn format(&self) -> Format {
        match self.output {
            _ if self.json => Format::Json,
            Some(format) => format,
            None => Format::Text,
        }
    }
}

/// Returns a result as one JSON document.
pub(super) fn json(result: &impl Serialize) -> Result<String, CliError> {
    let json = serde_json::to_string_pretty(result);
    let cannot = |error| CliError::new(COULD_NOT_RUN, format!("cannot write the result as JSON: {error}"));
    Ok(json.map_err(cannot)? + "\n")
}

/// Writes text to standard output, and strips colours where they are not supported. A closed pipe (`| head`) is not an
/// error.
pub(super) fn write(text: &[u8]) -> Result<(), CliError> {
    write_unless_closed(text).map(drop)
}

/// Does the same as [`write`]. Returns false if standard output is a closed pipe, so that further output is in vain.
pub(super) fn write_unless_closed(text: &[u8]) -> Result<bool, CliError> {
    let mut stdout = anstream::stdout();
    is_open(stdout.write_all(text).and_then(|()| stdout.flush()))
}

/// Prints the text of `--help` or `--version` to standard output, or an error in the command line to standard error.
/// Returns the exit code.
pub(super) fn print_usage(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    let code = error.exit_code().try_into().unwrap_or(USAGE);
    if error.use_stderr() {
        return ExitCode::from(code);
    }
    match is_open(printed.and_then(|()| io::stdout().flush())) {
        Ok(_) => ExitCode::from(code),
        Err(error) => error.report(),
    }
}

/// Writes a sentence to standard error. There is no place to report that this failed, so that is not an error.
pub(super) fn print_error(sentence: impl Display) {
    drop(writeln!(anstream::stderr(), "kubetester: {sentence}"));
}

/// Prints the source of the pods' names, unless it is given on the command line.
pub(super) fn print_pod_source(source: Option<PodSource>) -> Result<(), CliError> {
    match source {
        Some(source @ (PodSource::Body | PodSource::Header | PodSource::Peer)) => {
            write(format!("pods are named by {source}\n").as_bytes())
        }
        _ => Ok(()),
    }
}

/// Returns whether standard output is open after a write; false stands for a closed pipe.
fn is_open(written: io::Result<()>) -> Result<bool, CliError> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::new(COULD_NOT_RUN, format!("cannot write to standard output: {error}"))),
    }
}
