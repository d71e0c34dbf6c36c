//! Prints the result of a load as text.

use std::{
    fmt::{self, Write as _},
    iter,
};

use anstyle::Style;
use comfy_table::Table;

use super::{
    bar, count, counted, percent,
    pods::{BAR, NO_POD, PODS, listed},
    streams::streams,
    style::{BAD, BOLD, GOOD},
    table::{align_right, table},
    time,
    verdict::labelled,
};
use crate::{
    expect::Checked,
    result::{LoadResult, Percentiles},
    verdict::{Tone, figure},
};

/// The maximum number of causes of errors that are listed.
const MAX_CAUSES: usize = 10;

/// Returns the text with colours. Print it through `anstream`, which strips them where they are not supported.
pub fn load(result: &LoadResult) -> String {
    let mut page = String::new();
    match write(&mut page, result) {
        // Writing to a String does not fail.
        Ok(()) | Err(fmt::Error) => page,
    }
}

fn write(page: &mut String, result: &LoadResult) -> fmt::Result {
    match &result.streams {
        Some(held) => streams(page, result, held)?,
        None => calls(page, result)?,
    }
    latencies(page, result)?;
    errors(page, result)?;
    writeln!(page)?;
    let findings = &result.findings;
    let sentences = findings.0.iter().map(|finding| finding.sentence.as_str());
    labelled(page, "verdict", findings.tone(), sentences)?;
    let balance = &result.balance;
    if let Some(p_value) = balance.p_value {
        let skew = balance.skew.map_or("infinite".to_owned(), figure);
        let variation = percent(balance.variation);
        writeln!(
            page,
            "         {} pods, busiest over idlest {skew}, variation {variation}, chi-squared p {}",
            balance.pods,
            figure(p_value)
        )?;
    }
    notes(page, result)?;
    expectations(page, &result.expectations)
}

/// Writes the calls and the pods that answered them.
fn calls(page: &mut String, result: &LoadResult) -> fmt::Result {
    let failed = if result.failed > 0 { BAD } else { Style::new() };
    writeln!(
        page,
        "{BOLD}{}{BOLD:#}: {} in {}, {} a second, {failed}{} failed{failed:#}",
        result.target,
        counted(result.calls, "call"),
        time(result.elapsed),
        count(result.calls_per_second.round() as u64),
        count(result.failed),
    )?;
    if !result.pods.is_empty() {
        writeln!(page, "\n{}", pods(result))?;
        more_pods(page, result)?;
    }
    Ok(())
}

/// Writes how long calls took, or streams to open, and when their first messages came.
fn latencies(page: &mut String, result: &LoadResult) -> fmt::Result {
    if result.succeeded == 0 {
        return Ok(());
    }
    let label = if result.streams.is_some() { "time to open" } else { "latency" };
    writeln!(page, "\n{BOLD}{label}{BOLD:#}  {}", percentiles(&result.latency))?;
    let Some(messages) = result.messages else { return Ok(()) };
    match &result.first_message {
        Some(first) if messages > 0 => {
            let messages = count(messages);
            writeln!(page, "{BOLD}messages{BOLD:#}  {messages}; time to the first: {}", percentiles(first))
        }
        _ => writeln!(page, "{BOLD}messages{BOLD:#}  none"),
    }
}

fn percentiles(latency: &Percentiles) -> String {
    format!(
        "min {}  p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
        time(latency.min),
        time(latency.p50),
        time(latency.p90),
        time(latency.p99),
        time(latency.p999),
        time(latency.max),
    )
}

/// Adds a line for each expectation.
pub(super) fn expectations(page: &mut String, checked: &[Checked]) -> fmt::Result {
    for one in checked {
        let style = if one.held { GOOD } else { BAD };
        writeln!(page, "{style}{}{style:#}  --{}: {}", one.outcome(), one.expectation, one.detail)?;
    }
    Ok(())
}

/// Adds the notes that are needed to interpret the figures.
pub(super) fn notes(page: &mut String, result: &LoadResult) -> fmt::Result {
    result
        .notes
        .iter()
        .try_for_each(|note| labelled(page, "note   ", Tone::Neutral, iter::once(note.as_str())))
}

/// Adds a line about the pods that [`pods`] leaves out.
pub(super) fn more_pods(page: &mut String, result: &LoadResult) -> fmt::Result {
    let mut calls: Vec<_> = result.pods.iter().map(|pod| pod.calls).collect();
    calls.sort_unstable_by(|a, b| b.cmp(a));
    let Some([most, .., least] | [most @ least]) = calls.get(PODS..) else { return Ok(()) };
    let (more, most, least) = (counted((calls.len() - PODS) as u64, "more pod"), count(*most), count(*least));
    writeln!(page, " and {more}, with {least} to {most} calls each")
}

/// Returns a table with a row for each pod that answered. If there are too many, it has the busiest pods only.
pub(super) fn pods(result: &LoadResult) -> Table {
    let mut table = table(&["pod", "calls", "share", "", "errors", "p50", "p99", "first call"]);
    for pod in listed(&result.pods, |pod| pod.calls) {
        table.add_row([
            pod.name.clone(),
            count(pod.calls),
            percent(pod.share),
            bar(pod.share, BAR),
            count(pod.errors),
            time(pod.p50),
            time(pod.p99),
            time(pod.first_at),
        ]);
    }
    if result.unnamed + result.failed_without_pod > 0 {
        let (calls, errors) = (count(result.unnamed), count(result.failed_without_pod));
        let none = String::new;
        table.add_row([NO_POD.to_owned(), calls, none(), none(), errors, none(), none(), none()]);
    }
    align_right(&mut table, [1, 2, 4, 5, 6, 7]);
    table
}

/// Adds the causes of failed calls, if there are any.
pub(super) fn errors(page: &mut String, result: &LoadResult) -> fmt::Result {
    if result.errors.is_empty() {
        return Ok(());
    }
    writeln!(page, "\n{BAD}errors{BAD:#}")?;
    for error in result.errors.iter().take(MAX_CAUSES) {
        writeln!(page, "{:>9}  {}", count(error.count), error.cause)?;
    }
    if result.errors.len() > MAX_CAUSES {
        let rest = result.errors[MAX_CAUSES..].iter().map(|error| error.count).sum();
        let causes = counted((result.errors.len() - MAX_CAUSES) as u64, "other cause");
        writeln!(page, "{:>9}  for {causes}", count(rest))?;
    }
    Ok(())
}
