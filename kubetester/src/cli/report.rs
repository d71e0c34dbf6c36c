//! The `--report` flag of every command with a result.

use clap::Args;

use super::{COULD_NOT_RUN, CliError};
use crate::report::{About, CannotWrite, ReportFile};

/// The file of the report, if one is requested.
#[derive(Debug, Args)]
pub(super) struct Report {
    /// Write the result with plots to this file, as a self-contained HTML page
    #[arg(long = "report", value_name = "FILE.html")]
    file: Option<ReportFile>,
}

// === impl Report ===

impl Report {
    /// Checks that the report can be written, before the load starts.
    pub(super) fn about(&self) -> Result<About, CliError> {
        self.file.as_ref().map_or(Ok(()), ReportFile::check)?;
        Ok(About::this_program())
    }

    /// Writes the page if a report is requested.
    pub(super) fn write(&self, page: impl FnOnce() -> String) -> Result<(), CliError> {
        self.file.as_ref().map_or(Ok(()), |file| file.write(&page()))?;
        Ok(())
    }
}

impl From<CannotWrite> for CliError {
    fn from(error: CannotWrite) -> Self {
        Self::new(COULD_NOT_RUN, error.to_string())
    }
}
