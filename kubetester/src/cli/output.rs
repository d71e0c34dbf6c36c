//! A result on standard output, as `--json` says or does not.

use std::io::Write as _;

use serde::Serialize;

use super::{COULD_NOT_RUN, Stop};

/// Prints a result as it is wanted: one JSON document, or the page for people.
pub(super) fn print<T: Serialize>(result: &T, json: bool, page: fn(&T) -> String) -> Result<(), Stop> {
    let text = if json {
        let json = serde_json::to_string_pretty(result);
        json.map_err(|error| Stop::new(COULD_NOT_RUN, format!("cannot write the result as JSON: {error}")))?
            + "\n"
    } else {
        page(result)
    };
    // A pipe that was closed (`| head`) has seen all it wants.
    drop(anstream::stdout().write_all(text.as_bytes()));
    Ok(())
}
