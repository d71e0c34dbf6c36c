//! Prints the result of a drill as text.

use std::fmt::{self, Write as _};

use comfy_table::Table;

use super::{
    count, counted,
    load::{errors, expectations, more_pods, notes, pods},
    style::{BAD, BOLD},
    table::{align_right, table},
    time,
    verdict::labelled,
};
use crate::drill::{
    analysis::{Found, LostPod},
    event_log::Event,
    result::DrillResult,
};

/// Returns the text with colours. Print it through `anstream`, which strips them where they are not supported.
pub fn drill(result: &DrillResult) -> String {
    let mut page = String::new();
    match write(&mut page, result) {
        // Writing to a String does not fail.
        Ok(()) | Err(fmt::Error) => page,
    }
}

fn write(page: &mut String, result: &DrillResult) -> fmt::Result {
    let load = &result.load;
    let failed = if load.failed > 0 { BAD } else { BOLD };
    writeln!(
        page,
        "{BOLD}{} on {}{BOLD:#}, {}: {} in {}, {} a second, {failed}{} failed{failed:#}\n",
        result.scenario,
        result.on,
        load.target,
        counted(load.calls, "call"),
        time(load.elapsed),
        count(load.calls_per_second.round() as u64),
        count(load.failed),
    )?;
    if !result.events.is_empty() {
        writeln!(page, "{}\n", timeline(result))?;
    }
    if !load.pods.is_empty() {
        writeln!(page, "{}", pods(load))?;
        more_pods(page, load)?;
    }
    errors(page, load)?;
    let gap = result.analysis.longest_gap;
    writeln!(
        page,
        "\n{BOLD}longest gap without a successful call{BOLD:#}  {} at {}\n",
        time(gap.seconds),
        time(gap.at)
    )?;
    labelled(page, "verdict", result.tone(), result.sentences.iter().map(String::as_str))?;
    notes(page, load)?;
    expectations(page, &result.expectations)
}

/// Returns the table of events and their consequences.
fn timeline(result: &DrillResult) -> Table {
    let mut table = table(&["at", "what happened", "and then"]);
    for event in &result.events {
        let Event { at, what, pod } = event;
        let happened = match pod {
            Some(pod) => format!("{pod} {}", what.description()),
            None => what.description().to_owned(),
        };
        table.add_row([time(*at), happened, consequence(result, event).unwrap_or_default()]);
    }
    align_right(&mut table, [0]);
    table
}

/// Returns the consequence of an event, as text.
pub fn consequence(result: &DrillResult, event: &Event) -> Option<String> {
    let pod = event.pod.as_ref()?;
    let of_event = |name: &String, at: f64| name == pod && at.total_cmp(&event.at).is_eq();
    let lost = result.analysis.lost.iter().find(|lost| of_event(&lost.pod, lost.at));
    let found = result.analysis.found.iter().find(|found| of_event(&found.pod, found.ready_at));
    match (lost, found) {
        (Some(LostPod { at, last_answer_at: Some(last), .. }), _) if last >= at => {
            Some(format!("last call {} later", time(last - at)))
        }
        (Some(LostPod { at, last_answer_at: Some(last), .. }), _) => {
            Some(format!("last call {} before", time(at - last)))
        }
        (Some(LostPod { last_answer_at: None, .. }), _) => Some("had answered no call".to_owned()),
        (_, Some(Found { discovery: Some(discovery), .. })) => {
            Some(format!("first call {} later", time(*discovery)))
        }
        (_, Some(Found { discovery: None, .. })) => Some("answered no call".to_owned()),
        (None, None) => None,
    }
}
