//! Runs a load and shows its progress on a terminal.

use std::time::Duration;

use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    engine::{self, Call, Plan, Progress, Run},
    render,
};

/// The interval between updates of the progress line.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// Runs [`engine::resume`] and shows a progress line that starts with `label`. The line is cleared at the end.
pub(super) async fn run_with_progress<C: Call>(
    earlier: Run,
    plan: &Plan,
    callers: Vec<C>,
    stop: &CancellationToken,
    label: &str,
) -> (Run, Vec<C>) {
    let progress = Progress::default();
    let line = indicatif::ProgressBar::new_spinner();
    let start = Instant::now();
    let draw = async {
        let mut redraw = interval(REDRAW_INTERVAL);
        loop {
            let begun = redraw.tick().await;
            let before = progress.calls();
            redraw.tick().await;
            let calls = progress.calls();
            let rate = (calls - before) as f64 / begun.elapsed().as_secs_f64();
            line.set_message(format!(
                "{label}{}{}, {} a second, {} failed, {}",
                describe_progress(plan, calls, start.elapsed()),
                render::counted(calls, "call"),
                render::count(rate as u64),
                render::count(progress.failed()),
                render::counted(progress.pods() as u64, "pod"),
            ));
            line.tick();
        }
    };
    let ended = tokio::select! {
        ended = engine::resume(earlier, plan, callers, stop, &progress) => ended,
        () = draw => unreachable!("the progress is drawn without end"),
    };
    line.finish_and_clear();
    ended
}

/// Returns the progress of a load and the remaining time, if its plan has an end: `40 %, 6.00 s left, `.
fn describe_progress(plan: &Plan, calls: u64, elapsed: Duration) -> String {
    let by_calls = plan.calls.map(|all| calls as f64 / all as f64);
    let by_time = plan.duration.map(|all| elapsed.as_secs_f64() / all.as_secs_f64());
    let Some(done) = by_calls.into_iter().chain(by_time).reduce(f64::max) else { return String::new() };
    let done = done.min(1.0);
    // No estimate at the very start and at the end.
    let left = (0.01..1.0).contains(&done).then(|| elapsed.as_secs_f64() * (1.0 - done) / done);
    let left = left.map(|left| format!("{} left, ", render::time(left))).unwrap_or_default();
    format!("{:.0} %, {left}", done * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_follows_the_limit_that_is_reached_first() {
        let plan = |calls, seconds: Option<u64>| Plan {
            calls,
            duration: seconds.map(Duration::from_secs),
            rate: None,
            timeout: Duration::from_secs(1),
        };
        for (plan, calls, expected) in [
            (plan(None, None), 400, ""),
            (plan(Some(1000), None), 400, "40 %, 6.00 s left, "),
            (plan(None, Some(8)), 400, "50 %, 4.00 s left, "),
            (plan(Some(1000), Some(8)), 400, "50 %, 4.00 s left, "),
            (plan(Some(1000), None), 1, "0 %, "),
            (plan(None, Some(3)), 400, "100 %, "),
        ] {
            assert_eq!(describe_progress(&plan, calls, Duration::from_secs(4)), expected, "{plan:?}");
        }
    }
}
