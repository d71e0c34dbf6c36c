//! A result on standard output, in the format that is wanted.

use std::io::{self, Write as _};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{COULD_NOT_RUN, Stop, USAGE};
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

    /// With --json: what a report's plots are drawn from, too: the calls over time, and a histogram of the latencies
    #[arg(long)]
    details: bool,
}

/// The formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A page for people
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
    /// The page for people.
    fn page(&self) -> String;

    /// A row for each target.
    fn rows(&self) -> Vec<Row<'_>>;

    /// Leaves out what only plots need.
    fn without_details(&mut self);
}

// === impl Output ===

impl Output {
    /// Returns an error if the flags do not go together.
    pub(super) fn check(&self) -> Result<(), Stop> {
        if self.details && self.format() != Format::Json {
            return Err(Stop::new(USAGE, "--details goes with --json; a --report has them always"));
        }
        Ok(())
    }

    /// Prints a result as it is wanted.
    pub(super) fn print(&self, result: &mut impl Printed) -> Result<(), Stop> {
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

    /// Returns whether the result is a page for people.
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
pub(super) fn json(result: &impl Serialize) -> Result<String, Stop> {
    let json = serde_json::to_string_pretty(result);
    let cannot = |error| Stop::new(COULD_NOT_RUN, format!("cannot write the result as JSON: {error}"));
    Ok(json.map_err(cannot)? + "\n")
}

/// Writes text to standard output, without colours where they are not wanted. A pipe that was closed (`| head`) has
/// all it wants.
pub(super) fn write(text: &[u8]) -> Result<(), Stop> {
    let mut stdout = anstream::stdout();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Stop::new(COULD_NOT_RUN, format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints where the names of pods are from, unless the command line says it.
pub(super) fn print_pod_source(source: Option<PodSource>) {
    if let Some(source @ (PodSource::Body | PodSource::Header | PodSource::Peer)) = source {
        // A pipe that was closed has seen all it wants.
        drop(writeln!(anstream::stdout(), "pods are named by {source}"));
    }
}
