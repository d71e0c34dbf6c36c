//! `kubetester diff`: compares a result with an earlier one.

use std::{fs, path::PathBuf, process::ExitCode};

use clap::Args;

use super::{COULD_NOT_RUN, CliError, FAILED, OK, output};
use crate::{
    diff::{CannotCompare, Diff, Loads, Thresholds},
    render,
};

const EXAMPLES: &str = r#"Examples:
  kubetester load http://127.0.0.1:8200/hellogrpc -q 500 -z 1m --json > after.json
  kubetester diff before.json after.json --latency 20%"#;

/// Compare a result with an earlier one and report the figures that have become worse
///
/// Both are files that load, compare or drill printed with --json. Exits 0 when no figure has become worse by more than
/// its threshold, 1 when one has, 2 on bad usage, and 3 when the files cannot be compared.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Compared {
    /// The earlier result
    #[arg(value_name = "BEFORE.json")]
    before: PathBuf,

    /// The later result
    #[arg(value_name = "AFTER.json")]
    after: PathBuf,

    /// Print the differences as one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    thresholds: Thresholds,
}

// === impl Compared ===

impl Compared {
    pub(super) fn run(self) -> ExitCode {
        self.compare().unwrap_or_else(|stop| stop.report())
    }

    fn compare(&self) -> Result<ExitCode, CliError> {
        let (before, after) = (read(&self.before)?, read(&self.after)?);
        let diff = Diff::new(&before, &after, &self.thresholds).map_err(|CannotCompare(why)| {
            CliError::new(COULD_NOT_RUN, format!("cannot compare the results: {why}"))
        })?;
        let text = if self.json { output::json(&diff)? } else { render::diff(&diff) };
        output::write(text.as_bytes())?;
        Ok(ExitCode::from(if diff.held() { OK } else { FAILED }))
    }
}

fn read(path: &PathBuf) -> Result<Loads, CliError> {
    let cannot = |why: String| CliError::new(COULD_NOT_RUN, format!("cannot read {}: {why}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| cannot(error.to_string()))?;
    Loads::read(&text).map_err(|CannotCompare(why)| cannot(why))
}
