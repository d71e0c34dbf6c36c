//! Prints results for other programs: JUnit XML for CI systems, and CSV for collecting runs over time.

use askama::Template;

use crate::{expect::Checked, result::LoadResult};

/// The result of one target.
#[derive(Debug)]
pub struct Row<'a> {
    /// The command, with the scenario of a drill.
    pub kind: String,
    /// The route of a gateway, or the target itself.
    pub name: &'a str,
    /// The verdict in words.
    pub verdict: &'a str,
    /// The expectations and their outcomes.
    pub expectations: &'a [Checked],
    /// The result of the load.
    pub load: &'a LoadResult,
}

#[derive(Template)]
#[template(path = "junit.xml")]
struct Junit<'a> {
    rows: &'a [Row<'a>],
}

/// The columns of the CSV.
const COLUMNS: [&str; 22] = [
    "command",
    "name",
    "target",
    "callers",
    "rate",
    "elapsed",
    "calls",
    "succeeded",
    "failed",
    "unsent",
    "calls_per_second",
    "pods",
    "skew",
    "p_value",
    "min",
    "p50",
    "p90",
    "p95",
    "p99",
    "max",
    "findings",
    "held",
];

/// Returns a JUnit document with a test suite for each target. A suite has a case for each expectation, or a single
/// case if there are no expectations.
pub fn junit(rows: &[Row<'_>]) -> String {
    Junit { rows }.render().expect("writing to a String does not fail") + "\n"
}

/// Returns a CSV document (RFC 4180) with a header and a line for each target. Times are in seconds.
pub fn csv(rows: &[Row<'_>]) -> String {
    let mut lines = vec![COLUMNS.map(str::to_owned).to_vec()];
    lines.extend(rows.iter().map(Row::cells));
    let line =
        |cells: Vec<String>| cells.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",") + "\r\n";
    lines.into_iter().map(line).collect()
}

/// Quotes a cell for CSV, and keeps spreadsheets from evaluating it.
fn quoted(cell: &str) -> String {
    // A spreadsheet would evaluate a cell that starts like a formula, and names come from untrusted servers.
    let formula = cell.starts_with(['=', '+', '-', '@']) && cell.parse::<f64>().is_err();
    let cell = if formula { format!("'{cell}") } else { cell.to_owned() };
    match cell.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell,
    }
}

// === impl Row ===

impl Row<'_> {
    fn cells(&self) -> Vec<String> {
        let LoadResult { latency, balance, .. } = self.load;
        let some = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let answered = self.load.succeeded > 0;
        let time = |seconds: f64| some(Some(seconds).filter(|_| answered));
        vec![
            self.kind.clone(),
            self.name.to_owned(),
            self.load.target.clone(),
            self.load.callers.to_string(),
            some(self.load.rate),
            self.load.elapsed.to_string(),
            self.load.calls.to_string(),
            self.load.succeeded.to_string(),
            self.load.failed.to_string(),
            self.load.schedule.as_ref().map(|schedule| schedule.unsent.to_string()).unwrap_or_default(),
            self.load.calls_per_second.to_string(),
            balance.pods.to_string(),
            some(balance.skew.filter(|_| balance.p_value.is_some())),
            some(balance.p_value),
            time(latency.min),
            time(latency.p50),
            time(latency.p90),
            time(latency.p95),
            time(latency.p99),
            time(latency.max),
            self.load.findings.0.iter().map(|one| one.kind.to_string()).collect::<Vec<_>>().join(" "),
            self.expectations.iter().all(|one| one.held).to_string(),
        ]
    }

    fn failures(&self) -> usize {
        self.expectations.iter().filter(|one| !one.held).count() + usize::from(self.fails_alone())
    }

    fn tests(&self) -> usize {
        self.expectations.len().max(1)
    }

    /// Returns whether the suite fails without an expectation because no call succeeded.
    fn fails_alone(&self) -> bool {
        self.expectations.is_empty() && self.load.succeeded == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cell_is_quoted_where_needed_and_never_a_formula() {
        for (cell, expected) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"a\"", "\"say \"\"a\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=cmd()", "'=cmd()"),
            ("-1.5", "-1.5"),
        ] {
            assert_eq!(quoted(cell), expected);
        }
    }
}
