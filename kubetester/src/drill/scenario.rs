//! The scenarios: what is done to the stage, in which order, while the load runs.

use std::{fmt, time::Duration};

use tokio::time::{Instant, interval, sleep, timeout_at};

use super::{
    event_log::EventLog,
    platform::{Conduct, Platform, Trouble},
    success_log::SuccessLog,
};

/// More pods than this are not listed in a sentence.
const LISTED: usize = 5;

/// The time between two looks whether a pod was found.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The scenarios.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// One pod is killed, and returns after a while.
    Kill,
    /// Every pod is replaced, one after the other.
    Restart,
    /// There are so many pods from then on.
    Scale(u16),
    /// One pod's process is stopped, and goes on after a while.
    Freeze,
    /// The DNS server fails, then says nothing, and a pod is killed and returns meanwhile.
    DnsOutage,
}

/// The time that each part takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Before anything happens.
    pub steady: Duration,
    /// Between a loss and its return.
    pub outage: Duration,
    /// At most, until the first call succeeds, and until a pod that is ready takes its first call.
    pub patience: Duration,
    /// After everything was found.
    pub settle: Duration,
}

// === impl Scenario ===

impl Scenario {
    /// Plays it; ends when the load may.
    ///
    /// # Errors
    ///
    /// When nothing answers before it begins, or the stage is in trouble.
    pub async fn play(
        self,
        times: &Times,
        stage: &mut dyn Platform,
        journal: &EventLog,
        trail: &SuccessLog,
    ) -> Result<(), Trouble> {
        sleep(times.steady).await;
        let until = Instant::now() + times.patience;
        while !trail.any_success() {
            if Instant::now() >= until {
                let waited = humantime::format_duration(times.steady + times.patience);
                return Err(Trouble(format!("no call succeeded in {waited}, before anything was changed")));
            }
            sleep(LOOK_EVERY).await;
        }
        within(stage, trail).await?;
        self.act(times, stage, journal, trail).await?;
        found(journal, trail, Instant::now() + times.patience).await;
        sleep(times.settle).await;
        Ok(())
    }

    async fn act(
        self,
        times: &Times,
        stage: &mut dyn Platform,
        journal: &EventLog,
        trail: &SuccessLog,
    ) -> Result<(), Trouble> {
        match self {
            Self::Kill => {
                let pod = victim(stage, trail).await?;
                stage.kill(&pod, journal).await?;
                sleep(times.outage).await;
                stage.revive(&pod, journal).await
            }
            Self::Freeze => {
                let pod = victim(stage, trail).await?;
                stage.freeze(&pod, journal).await?;
                sleep(times.outage).await;
                stage.thaw(&pod, journal).await
            }
            Self::Restart => stage.restart(journal).await,
            Self::Scale(pods) => stage.scale(pods, journal).await,
            Self::DnsOutage => {
                let pod = victim(stage, trail).await?;
                let part = times.outage / 4;
                stage.dns(Conduct::Fail, journal).await?;
                sleep(part).await;
                stage.kill(&pod, journal).await?;
                sleep(part).await;
                stage.dns(Conduct::Silent, journal).await?;
                stage.revive(&pod, journal).await?;
                sleep(part).await;
                stage.dns(Conduct::Lossy, journal).await?;
                sleep(part).await;
                stage.dns(Conduct::Answer, journal).await
            }
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => f.write_str("kill"),
            Self::Restart => f.write_str("restart"),
            Self::Scale(pods) => write!(f, "scale {pods}"),
            Self::Freeze => f.write_str("freeze"),
            Self::DnsOutage => f.write_str("dns-outage"),
        }
    }
}

/// Returns whether the calls go to the pods that are drilled.
///
/// # Errors
///
/// When none of them has answered: then nothing that is done to them can be seen in the calls.
async fn within(stage: &mut dyn Platform, trail: &SuccessLog) -> Result<(), Trouble> {
    let pods = stage.pods().await?;
    if pods.iter().any(|pod| trail.calls(pod) > 0) {
        return Ok(());
    }
    let list = |mut names: Vec<String>| {
        names.sort();
        let more = names.len().saturating_sub(LISTED);
        names.truncate(LISTED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}", names.join(", "))
    };
    let answered = match trail.pods() {
        pods if pods.is_empty() => {
            "the answers do not name their pod; say where they do with --pod-from".to_owned()
        }
        pods => format!("the answers came from {}; name a --target within the drilled system", list(pods)),
    };
    let drilled = if pods.is_empty() { "there is none".to_owned() } else { list(pods) };
    Err(Trouble(format!("none of the drilled pods ({drilled}) has answered a call: {answered}")))
}

/// The pod that took the most calls so far: with one connection there is only one whose loss would be felt.
async fn victim(stage: &mut dyn Platform, trail: &SuccessLog) -> Result<String, Trouble> {
    let pods = stage.pods().await?;
    let busiest = pods.into_iter().max_by_key(|pod| trail.calls(pod));
    busiest.ok_or_else(|| Trouble("there is no pod to do it to".to_owned()))
}

/// Waits until every pod that became ready has answered since.
async fn found(journal: &EventLog, trail: &SuccessLog, until: Instant) {
    let gains: Vec<_> = journal.events().into_iter().filter(|event| event.what.is_gain()).collect();
    let all = async {
        let mut look = interval(LOOK_EVERY);
        while !gains.iter().all(|gain| gain.pod.as_ref().is_none_or(|pod| trail.answered_after(pod, gain.at)))
        {
            look.tick().await;
        }
    };
    // Who was not found by then is told in the result.
    drop(timeout_at(until, all).await);
}
