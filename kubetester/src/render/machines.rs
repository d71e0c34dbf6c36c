//! Results for other programs: JUnit XML, which CI systems show, and CSV, which collects runs over time.

use askama::Template;

use crate::{expect::Checked, result::LoadResult};

/// A target and what came of it.
#[derive(Debug)]
pub struct Row<'a> {
    /// The command, with the scenario of a drill.
    pub kind: String,
    /// The route of a gateway, or the target itself.
    pub name: &'a str,
    /// The verdict, in words.
    pub verdict: &'a str,
    /// The expectations, and what became of them.
    pub expectations: &'a [Checked],
    /// The calls.
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

/// A test suite for each target: a case for each expectation, and one for the calls if there is none.
pub fn junit(rows: &[Row<'_>]) -> String {
    Junit { rows }.render().expect("a template writes to a String, which takes everything")
}

/// A header and a line for each target (RFC 4180). Times are in seconds.
pub fn csv(rows: &[Row<'_>]) -> String {
    let mut lines = vec![COLUMNS.map(str::to_owned).to_vec()];
    lines.extend(rows.iter().map(Row::cells));
    let line =
        |cells: Vec<String>| cells.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",") + "\r\n";
    lines.into_iter().map(line).collect()
}

/// A cell that a spreadsheet takes as it is.
fn quoted(cell: &str) -> String {
    // What begins like a formula would be run by a spreadsheet, and names come from whoever answers.
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

    /// True if there is no expectation and no call succeeded.
    fn fails_alone(&self) -> bool {
        self.expectations.is_empty() && self.load.succeeded == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_have_to_be_and_are_no_formulas() {
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
