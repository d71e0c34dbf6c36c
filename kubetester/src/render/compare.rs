//! Prints a comparison as text.

use std::fmt::{self, Write as _};

use comfy_table::Table;

use super::{
    count, counted,
    style::{BAD, BOLD, GOOD},
    table::{align_right, table},
    time,
    verdict::labelled,
};
use crate::{
    compare::{Compared, Comparison, Figure},
    verdict::figure,
};

/// The maximum number of causes of errors that are listed for a target.
const MAX_CAUSES: usize = 3;

/// Returns the text with colours. Print it through `anstream`, which strips them where they are not supported.
pub fn compare(comparison: &Comparison) -> String {
    let mut page = String::new();
    match write(&mut page, comparison) {
        // Writing to a String does not fail.
        Ok(()) | Err(fmt::Error) => page,
    }
}

fn write(page: &mut String, comparison: &Comparison) -> fmt::Result {
    let results = &comparison.results;
    let calls = results.iter().map(|one| one.load.calls).sum();
    let elapsed = results.iter().map(|one| one.load.elapsed).sum();
    writeln!(
        page,
        "{BOLD}{}{BOLD:#}, in turn, {}: {} in {}\n",
        counted(results.len() as u64, "target"),
        counted(comparison.rounds.into(), "round"),
        counted(calls, "call"),
        time(elapsed),
    )?;
    writeln!(page, "{}\n", targets(results))?;
    if results.iter().any(|one| !one.best.is_empty()) {
        writeln!(page, "* the best of its column, by more than the difference between rounds\n")?;
    }
    let width = results.iter().map(|one| one.name.chars().count()).max().unwrap_or_default();
    for Compared { name, load, .. } in results {
        let sentences = load.findings.0.iter().map(|finding| finding.sentence.as_str());
        let sentences = sentences.chain(load.notes.iter().map(String::as_str));
        labelled(page, &format!("{name:<width$}"), load.findings.tone(), sentences)?;
        for error in load.errors.iter().take(MAX_CAUSES) {
            writeln!(page, "{BAD}{:>9}{BAD:#}  {}", count(error.count), error.cause)?;
        }
        if load.errors.len() > MAX_CAUSES {
            let rest = load.errors[MAX_CAUSES..].iter().map(|error| error.count).sum();
            writeln!(page, "{BAD}{:>9}{BAD:#}  for other causes", count(rest))?;
        }
    }
    for Compared { name, load, .. } in results {
        for one in &load.expectations {
            let style = if one.held { GOOD } else { BAD };
            writeln!(
                page,
                "{style}{}{style:#}  {name}  --{}: {}",
                one.outcome(),
                one.expectation,
                one.detail
            )?;
        }
    }
    Ok(())
}

fn targets(results: &[Compared]) -> Table {
    let figures = Figure::ALL.map(header);
    let mut table = table(&[&["target"], &figures[..], &["verdict"]].concat());
    for one in results {
        let figures = Figure::ALL.map(|figure| {
            let mark = if one.best.contains(&figure) { '*' } else { ' ' };
            format!("{}{mark}", figure.of(&one.load).map_or("-".to_owned(), |value| shown(figure, value)))
        });
        let name = std::slice::from_ref(&one.name);
        table.add_row([name, &figures, &[one.load.findings.headline()]].concat());
    }
    align_right(&mut table, 1..=Figure::ALL.len());
    table
}

/// Returns the header of a figure's column. The trailing space aligns it with rows that end in a mark.
pub fn header(figure: Figure) -> &'static str {
    match figure {
        Figure::CallsPerSecond => "calls/s ",
        Figure::Failed => "errors ",
        Figure::Pods => "pods ",
        Figure::Skew => "skew ",
        Figure::P50 => "p50 ",
        Figure::P99 => "p99 ",
    }
}

/// Formats the value of a figure.
pub fn shown(of: Figure, value: f64) -> String {
    match of {
        Figure::CallsPerSecond | Figure::Failed | Figure::Pods => count(value.round() as u64),
        Figure::Skew => figure(value),
        Figure::P50 | Figure::P99 => time(value),
    }
}
