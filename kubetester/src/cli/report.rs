//! The flag for a report, which every command with a result has.

use clap::Args;

use super::{COULD_NOT_RUN, Stop};
use crate::report::{About, CannotWrite, ReportFile};

/// True if a report is wanted, and where.
#[derive(Debug, Args)]
pub(super) struct Report {
    /// Write the result with its plots to this file, as one page of HTML
    #[arg(long = "report", value_name = "FILE.html")]
    file: Option<ReportFile>,
}

// === impl Report ===

impl Report {
    /// To be asked before anything is done: a report that cannot be written is better known then.
    pub(super) fn about(&self) -> Result<About, Stop> {
        self.file.as_ref().map_or(Ok(()), ReportFile::check)?;
        Ok(About::this_program())
    }

    /// Writes the page, if it is wanted.
    pub(super) fn write(&self, page: impl FnOnce() -> String) -> Result<(), Stop> {
        self.file.as_ref().map_or(Ok(()), |file| file.write(&page()))?;
        Ok(())
    }
}

impl From<CannotWrite> for Stop {
    fn from(error: CannotWrite) -> Self {
        Self::new(COULD_NOT_RUN, error.to_string())
    }
}
