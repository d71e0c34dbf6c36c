//! Prints the difference of two results as text.

use std::fmt::{self, Write as _};

use comfy_table::Table;

use super::{
    count, percent,
    style::{BAD, BOLD, GOOD},
    table::{align_right, table},
    time,
};
use crate::{
    diff::{Change, Diff, Figure, TargetDiff},
    verdict::figure,
};

/// Returns the text with colours. Print it through `anstream`, which strips them where they are not supported.
pub fn diff(diff: &Diff) -> String {
    let mut page = String::new();
    match write(&mut page, diff) {
        // Writing to a String does not fail.
        Ok(()) | Err(fmt::Error) => page,
    }
}

fn write(page: &mut String, diff: &Diff) -> fmt::Result {
    for target in &diff.targets {
        writeln!(page, "{BOLD}{}{BOLD:#}\n{}\n", target.name, figures(target))?;
    }
    let worse = diff.targets.iter().flat_map(|target| {
        target.figures.iter().filter(|change| change.worse).map(|change| match diff.targets.len() {
            1 => change.figure.to_string(),
            _ => format!("{} of {}", change.figure, target.name),
        })
    });
    match worse.collect::<Vec<_>>().join(", ") {
        worse if worse.is_empty() => writeln!(page, "{GOOD}verdict{GOOD:#}  no figure has become worse"),
        worse => writeln!(page, "{BAD}verdict{BAD:#}  worse: {worse}"),
    }
}

fn figures(target: &TargetDiff) -> Table {
    let mut table = table(&["", "before", "after", "change", ""]);
    for change in &target.figures {
        let shown = |value: Option<f64>| value.map_or("-".to_owned(), |value| shown(change.figure, value));
        let word = if change.worse { "worse" } else { "" };
        table.add_row([
            change.figure.to_string(),
            shown(change.before),
            shown(change.after),
            difference(change),
            word.to_owned(),
        ]);
    }
    align_right(&mut table, 1..=3);
    table
}

fn shown(of: Figure, value: f64) -> String {
    match of {
        Figure::P50 | Figure::P95 | Figure::P99 => time(value),
        Figure::CallsPerSecond | Figure::Pods => count(value.round() as u64),
        Figure::Errors => percent(value),
        Figure::Skew => figure(value),
    }
}

/// Formats the change in percent of the value before; for errors, in percentage points.
fn difference(change: &Change) -> String {
    let (Some(before), Some(after)) = (change.before, change.after) else { return String::new() };
    match change.figure {
        Figure::Errors => format!("{:+.1} points", (after - before) * 100.0),
        Figure::Pods => format!("{:+}", after - before),
        _ if before > 0.0 && after.is_finite() => format!("{:+.1} %", (after / before - 1.0) * 100.0),
        _ => String::new(),
    }
}
