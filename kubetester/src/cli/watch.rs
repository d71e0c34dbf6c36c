//! Runs a load with a line of progress where a person can see it.

use std::time::Duration;

use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::{
    engine::{self, Call, Plan, Progress, Run},
    render,
};

/// The number of times that the progress is redrawn.
const REDRAW: Duration = Duration::from_millis(100);

/// [`engine::resume`], with a line that begins with `label` and is gone when it ends.
pub(super) async fn watched<C: Call>(
    earlier: Run,
    plan: &Plan,
    callers: Vec<C>,
    stop: &CancellationToken,
    label: &str,
) -> (Run, Vec<C>) {
    let progress = Progress::default();
    let line = indicatif::ProgressBar::new_spinner();
    let draw = async {
        let mut redraw = interval(REDRAW);
        loop {
            let begun = redraw.tick().await;
            let before = progress.calls();
            redraw.tick().await;
            let calls = progress.calls();
            let rate = (calls - before) as f64 / begun.elapsed().as_secs_f64();
            line.set_message(format!(
                "{label}{} calls, {} a second, {} failed, {} pods",
                render::count(calls),
                render::count(rate as u64),
                render::count(progress.failed()),
                progress.pods(),
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
