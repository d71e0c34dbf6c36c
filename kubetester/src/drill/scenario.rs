//! The scenarios: the sequences of events on a platform while the load runs.

use std::{fmt, time::Duration};

use tokio::time::{Instant, interval, sleep, timeout_at};

use super::{
    event_log::EventLog,
    platform::{Platform, PlatformError, ResponseMode},
    success_log::SuccessLog,
};

/// The maximum number of pods that are listed in a sentence.
const MAX_LISTED: usize = 5;

/// The interval between checks whether calls succeed and pods have answered.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The scenarios.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Kills one pod, and starts it again after a while.
    Kill,
    /// Replaces every pod, one after the other.
    Restart,
    /// Changes the number of pods.
    Scale(u16),
    /// Stops the process of one pod, and resumes it after a while.
    Freeze,
    /// The DNS server first fails and then does not answer, while a pod is killed and started again.
    DnsOutage,
}

/// The duration of each part of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The time before the first event.
    pub steady: Duration,
    /// The time between the loss of a pod and its return.
    pub outage: Duration,
    /// The maximum time until the first call succeeds, and until a pod that is ready takes its first call.
    pub patience: Duration,
    /// The time after every ready pod has taken a call.
    pub settle: Duration,
}

// === impl Scenario ===

impl Scenario {
    /// Runs the scenario; returns when the load may end.
    ///
    /// # Errors
    ///
    /// Fails if no call succeeds before it begins, or if the platform reports an error.
    pub async fn run(
        self,
        times: &Times,
        platform: &mut dyn Platform,
        event_log: &EventLog,
        success_log: &SuccessLog,
    ) -> Result<(), PlatformError> {
        sleep(times.steady).await;
        let until = Instant::now() + times.patience;
        while !success_log.any_success() {
            if Instant::now() >= until {
                let waited = humantime::format_duration(times.steady + times.patience);
                return Err(PlatformError(format!(
                    "no call succeeded in {waited}, before anything was changed"
                )));
            }
            sleep(POLL_INTERVAL).await;
        }
        check_target(platform, success_log).await?;
        self.act(times, platform, event_log, success_log).await?;
        wait_until_discovered(event_log, success_log, Instant::now() + times.patience).await;
        sleep(times.settle).await;
        Ok(())
    }

    async fn act(
        self,
        times: &Times,
        platform: &mut dyn Platform,
        event_log: &EventLog,
        success_log: &SuccessLog,
    ) -> Result<(), PlatformError> {
        match self {
            Self::Kill => {
                let pod = busiest_pod(platform, success_log).await?;
                platform.kill(&pod, event_log).await?;
                sleep(times.outage).await;
                platform.revive(&pod, event_log).await
            }
            Self::Freeze => {
                let pod = busiest_pod(platform, success_log).await?;
                platform.freeze(&pod, event_log).await?;
                sleep(times.outage).await;
                platform.thaw(&pod, event_log).await
            }
            Self::Restart => platform.restart(event_log).await,
            Self::Scale(pods) => platform.scale(pods, event_log).await,
            Self::DnsOutage => {
                let pod = busiest_pod(platform, success_log).await?;
                let part = times.outage / 4;
                platform.set_dns_mode(ResponseMode::Fail, event_log).await?;
                sleep(part).await;
                platform.kill(&pod, event_log).await?;
                sleep(part).await;
                platform.set_dns_mode(ResponseMode::Silent, event_log).await?;
                platform.revive(&pod, event_log).await?;
                sleep(part).await;
                platform.set_dns_mode(ResponseMode::Lossy, event_log).await?;
                sleep(part).await;
                platform.set_dns_mode(ResponseMode::Answer, event_log).await
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

/// Checks that the calls go to the drilled pods.
///
/// # Errors
///
/// Fails if none of the drilled pods has answered, because the calls would then not show the effect of the drill.
async fn check_target(platform: &mut dyn Platform, success_log: &SuccessLog) -> Result<(), PlatformError> {
    let pods = platform.pods().await?;
    if pods.iter().any(|pod| success_log.calls(pod) > 0) {
        return Ok(());
    }
    let list = |mut names: Vec<String>| {
        names.sort();
        let more = names.len().saturating_sub(MAX_LISTED);
        names.truncate(MAX_LISTED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}", names.join(", "))
    };
    let answered = match success_log.pods() {
        pods if pods.is_empty() => {
            "the answers do not name their pod; give its place in the answer with --pod-from".to_owned()
        }
        pods => format!("the answers came from {}; name a --target within the drilled system", list(pods)),
    };
    let drilled = if pods.is_empty() { "none is ready".to_owned() } else { list(pods) };
    Err(PlatformError(format!("none of the drilled pods ({drilled}) has answered a call: {answered}")))
}

/// Returns the busiest pod. With a single connection, the loss of any other pod would have no effect.
async fn busiest_pod(platform: &mut dyn Platform, success_log: &SuccessLog) -> Result<String, PlatformError> {
    let pods = platform.pods().await?;
    let busiest = pods.into_iter().max_by_key(|pod| success_log.calls(pod));
    busiest.ok_or_else(|| PlatformError("the system has no ready pods to drill".to_owned()))
}

/// Waits until every pod that became ready has answered a call since then.
async fn wait_until_discovered(event_log: &EventLog, success_log: &SuccessLog, until: Instant) {
    let gains: Vec<_> = event_log.events().into_iter().filter(|event| event.what.is_gain()).collect();
    let all = async {
        let mut poll = interval(POLL_INTERVAL);
        while !gains
            .iter()
            .all(|gain| gain.pod.as_ref().is_none_or(|pod| success_log.has_success_after(pod, gain.at)))
        {
            poll.tick().await;
        }
    };
    // The result reports pods that got no call until then.
    drop(timeout_at(until, all).await);
}
