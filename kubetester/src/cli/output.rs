//! Prints a result to standard output in the requested format.

use std::io::{self, Write as _};

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
    let mut stdout = anstream::stdout();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::new(COULD_NOT_RUN, format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints the source of the pods' names, unless it is given on the command line.
pub(super) fn print_pod_source(source: Option<PodSource>) {
    if let Some(source @ (PodSource::Body | PodSource::Header | PodSource::Peer)) = source {
        // A closed pipe is not an error.
        drop(writeln!(anstream::stdout(), "pods are named by {source}"));
    }
}
