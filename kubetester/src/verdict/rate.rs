//! Checks whether an open loop reached its rate and, if not, which resource limited it.

use crate::{
    conditions::Conditions,
    engine::{Plan, Run},
    number,
};

/// The share of the planned rate that counts as reached.
const MIN_RATE_SHARE: f64 = 0.95;

/// The share of the time during which callers had a call in flight, from which on all of them count as busy.
const MIN_BUSY_SHARE: f64 = 0.9;

/// Returns the finding's sentence if the rate was not reached.
pub(super) fn not_reached(conditions: &Conditions, plan: &Plan, run: &Run) -> Option<String> {
    let wanted = plan.rate?;
    let tally = &run.tally;
    let started = tally.calls();
    // The first call starts at time zero, so the rate is that of the calls after it.
    let made = started.saturating_sub(1) as f64 / tally.last_start.as_secs_f64().max(f64::MIN_POSITIVE);
    let due = (started + run.unsent) as f64;
    if started == 0 || (made >= MIN_RATE_SHARE * wanted && started as f64 >= MIN_RATE_SHARE * due) {
        return None;
    }
    let callers = conditions.callers;
    let time = run.elapsed.as_secs_f64() * callers as f64;
    let short = if tally.busy.as_secs_f64() >= MIN_BUSY_SHARE * time {
        format!(
            "{} in flight all the time: the target is at its limit, or -c is too small",
            if callers == 1 {
                "the one caller had a call".to_owned()
            } else {
                format!("all {callers} callers had calls")
            },
        )
    } else {
        "callers were idle: this program, or its machine, is at its limit".to_owned()
    };
    // Calls per second while there were calls to start.
    let reached = made.min(wanted * started as f64 / due.max(1.0));
    Some(format!(
        "the rate was not reached: {} of {} calls a second; {short}",
        number::shown(reached),
        number::shown(wanted)
    ))
}
