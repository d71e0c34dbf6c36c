//! Streams that were held, as a page of text.

use std::fmt::{self, Write as _};

use comfy_table::Table;

use super::{
    bar, count, counted, percent,
    pods::{BAR, NO_POD, PODS, listed},
    style::{BAD, BOLD},
    table::{align_right, table},
    time,
};
use crate::result::{LoadResult, Streams};

/// The maximum number of endings, and of moves, that are listed.
const MAX_LINES: usize = 12;

/// Writes everything above the verdict.
pub(super) fn streams(page: &mut String, result: &LoadResult, streams: &Streams) -> fmt::Result {
    let failed = if result.failed > 0 { BAD } else { anstyle::Style::new() };
    writeln!(
        page,
        "{BOLD}{}{BOLD:#}: {} of {} of {} are open after {}, {} ended early, {failed}{} failed{failed:#}",
        result.target,
        count(streams.held),
        counted(streams.wanted, "stream"),
        streams.method,
        time(result.elapsed),
        count(streams.ended),
        count(result.failed),
    )?;
    if !streams.pods.is_empty() {
        writeln!(page, "\n{}", pods(streams))?;
        if let Some(more) = streams.pods.len().checked_sub(PODS).filter(|more| *more > 0) {
            writeln!(page, " and {}", counted(more as u64, "more pod"))?;
        }
    }
    for endpoint in streams.idle.iter().flatten().take(MAX_LINES) {
        let came = if endpoint.came_later { ", which came later" } else { "" };
        writeln!(page, " endpoint {}{came}, holds none", endpoint.address)?;
    }
    if let Some(more) = streams.idle_endpoints().checked_sub(MAX_LINES).filter(|more| *more > 0) {
        let more = counted(more as u64, "more endpoint");
        writeln!(page, " and {more} {} none", if more.ends_with('s') { "hold" } else { "holds" })?;
    }
    if !streams.endings.is_empty() {
        writeln!(page, "\n{BOLD}streams that ended early{BOLD:#}\n{}", endings(streams))?;
    }
    if !streams.moves.is_empty() {
        writeln!(page, "\n{BOLD}opened again{BOLD:#}\n{}", moves(streams))?;
    }
    Ok(())
}

/// Returns a line for each pod, or for those with the most streams if there are many.
fn pods(streams: &Streams) -> Table {
    let mut table = table(&["pod", "held", "share", "", "opened", "ended early", "first opened", ""]);
    for pod in listed(&streams.pods, |pod| pod.held) {
        table.add_row([
            pod.name.clone(),
            count(pod.held),
            percent(pod.share),
            bar(pod.share, BAR),
            count(pod.opened),
            count(pod.ended),
            time(pod.first_at),
            if pod.came_later { "came later".to_owned() } else { String::new() },
        ]);
    }
    if streams.held_unnamed > 0 {
        table.add_row([NO_POD.to_owned(), count(streams.held_unnamed)]);
    }
    align_right(&mut table, [1, 2, 4, 5, 6]);
    table
}

fn endings(streams: &Streams) -> Table {
    let mut table = table(&["streams", "status", "pod", "open for at least", "at most"]);
    for one in streams.endings.iter().take(MAX_LINES) {
        table.add_row([
            count(one.count),
            one.status.clone(),
            one.pod.clone().unwrap_or_else(|| NO_POD.to_owned()),
            time(one.shortest),
            time(one.longest),
        ]);
    }
    rest(&mut table, streams.endings.iter().skip(MAX_LINES).map(|one| one.count));
    align_right(&mut table, [0, 3, 4]);
    table
}

fn moves(streams: &Streams) -> Table {
    let mut table = table(&["streams", "from", "to"]);
    for one in streams.moves.iter().take(MAX_LINES) {
        table.add_row([count(one.count), one.from.clone(), one.to.clone()]);
    }
    rest(&mut table, streams.moves.iter().skip(MAX_LINES).map(|one| one.count));
    align_right(&mut table, [0]);
    table
}

/// Adds a line for those that are not listed.
fn rest(table: &mut Table, counts: impl Iterator<Item = u64>) {
    let more = counts.sum();
    if more > 0 {
        table.add_row([count(more), "others".to_owned()]);
    }
}
