//! The expectations that a load must meet for the exit code to be 0.

use std::{fmt, str::FromStr, time::Duration};

use serde::Serialize;

use crate::{
    balance::Balance,
    engine::{Plan, Run},
    number,
    render::{count, counted, time},
    verdict::figure,
};

/// The expectations of a load; empty by default.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Expectations (exit code 1 when one does not hold)")]
pub struct Expectations {
    /// Exactly this many pods answer
    #[arg(long, value_name = "N")]
    pub expect_pods: Option<usize>,

    /// The busiest pod takes at most this many times the calls of the idlest
    #[arg(long, value_name = "RATIO", value_parser = skew)]
    pub max_skew: Option<f64>,

    /// At most this many calls fail, or are due by --rate and never made: a number, or with % a share of all calls
    #[arg(long, value_name = "N|%")]
    pub max_errors: Option<MaxErrors>,

    /// 50 % of the calls that succeed take at most this long
    #[arg(long, value_name = "TIME", value_parser = service::parse_duration)]
    pub max_p50: Option<Duration>,

    /// 95 % of the calls that succeed take at most this long
    #[arg(long, value_name = "TIME", value_parser = service::parse_duration)]
    pub max_p95: Option<Duration>,

    /// 99 % of the calls that succeed take at most this long
    #[arg(long, value_name = "TIME", value_parser = service::parse_duration)]
    pub max_p99: Option<Duration>,

    /// At least this many calls a second succeed
    #[arg(long, value_name = "CALLS/S", value_parser = number::rate)]
    pub min_rate: Option<f64>,
}

/// A limit on failed calls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxErrors {
    /// An absolute number.
    Count(u64),
    /// A share of all calls, in percent.
    Percent(f64),
}

/// The outcome of an expectation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Checked {
    /// The flag without the leading dashes, e.g. `max-errors`.
    pub expectation: &'static str,
    /// True if the expectation was met.
    pub held: bool,
    /// True if the load was interrupted, so that only the calls until then were checked.
    pub partial: bool,
    /// The expected and the actual value, as a sentence.
    pub detail: String,
}

// === impl Expectations ===

impl Expectations {
    /// Checks each expectation against the result of a load.
    pub fn check(&self, plan: &Plan, run: &Run, balance: &Balance) -> Vec<Checked> {
        let Run { tally, elapsed, unsent, .. } = run;
        let partial = run.interrupted(plan);
        let mut checked = Vec::new();
        let mut check =
            |expectation, held, detail| checked.push(Checked { expectation, held, partial, detail });
        if let Some(expected) = self.expect_pods {
            let seen = balance.pods;
            check("expect-pods", seen == expected, format!("{} answered, {expected} expected", pods(seen)));
        }
        if let Some(limit) = self.max_skew {
            // One pod, or none, is no proof of balance.
            let held = balance.pods > 1 && balance.p_value.is_some() && balance.skew <= limit;
            let seen = match balance.pods {
                0 => "no pod was seen".to_owned(),
                1 => "only one pod was seen".to_owned(),
                _ if balance.p_value.is_none() => "pods came and went too often to judge the skew".to_owned(),
                _ => format!("the busiest pod took {} times the calls of the idlest", figure(balance.skew)),
            };
            check("max-skew", held, format!("{seen}, at most {} allowed", figure(limit)));
        }
        if let Some(limit) = self.max_errors {
            let (failed, calls) = (tally.failed(), tally.calls());
            let never = match unsent {
                0 => String::new(),
                1 => " and 1 that was due was never made".to_owned(),
                unsent => format!(" and {} that were due were never made", count(*unsent)),
            };
            check(
                "max-errors",
                limit.allows(failed + unsent, calls + unsent),
                format!(
                    "{} of {} failed{never}, at most {limit} allowed",
                    count(failed),
                    counted(calls, "call")
                ),
            );
        }
        let latencies = [
            ("max-p50", 50.0, self.max_p50),
            ("max-p95", 95.0, self.max_p95),
            ("max-p99", 99.0, self.max_p99),
        ];
        for (expectation, percent, limit) in latencies {
            let Some(limit) = limit else { continue };
            let seen = tally.latency.percentile(percent);
            let held = tally.succeeded > 0 && seen <= limit;
            let seen = match tally.succeeded {
                0 => "no call succeeded".to_owned(),
                _ => format!("p{percent} was {}", time(seen.as_secs_f64())),
            };
            check(expectation, held, format!("{seen}, at most {} allowed", time(limit.as_secs_f64())));
        }
        if let Some(limit) = self.min_rate {
            let rate = tally.succeeded as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
            let seen = if tally.succeeded == 0 { "0".to_owned() } else { number::shown(rate) };
            check(
                "min-rate",
                tally.succeeded > 0 && rate >= limit,
                format!("{seen} calls a second succeeded, at least {} wanted", number::shown(limit)),
            );
        }
        checked
    }
}

// === impl Checked ===

impl Checked {
    /// Returns the outcome in a word or three.
    pub fn outcome(&self) -> &'static str {
        match (self.held, self.partial) {
            (true, false) => "held",
            (true, true) => "held so far",
            (false, _) => "failed",
        }
    }
}

fn pods(count: usize) -> String {
    counted(count as u64, "pod")
}

fn skew(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if ratio >= 1.0 => Ok(ratio),
        Ok(_) => Err("no load is more even than 1; give 1 or more".to_owned()),
        Err(_) => Err("not a number; give a ratio such as 1.1".to_owned()),
    }
}

// === impl MaxErrors ===

impl MaxErrors {
    fn allows(self, failed: u64, calls: u64) -> bool {
        match self {
            Self::Count(limit) => failed <= limit,
            Self::Percent(limit) => failed as f64 <= calls as f64 * limit / 100.0,
        }
    }
}

impl FromStr for MaxErrors {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let percent = text.strip_suffix('%').map(|number| number.trim_end().parse::<f64>());
        match percent {
            Some(Ok(percent)) if (0.0..=100.0).contains(&percent) => Ok(Self::Percent(percent)),
            Some(_) => Err("not a share; give 0% to 100%".to_owned()),
            None => {
                let count = text.parse().map(Self::Count);
                count.map_err(|_| "not a number of calls; give 0, 5 or 1% for example".to_owned())
            }
        }
    }
}

impl fmt::Display for MaxErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent} %"),
        }
    }
}

#[cfg(test)]
mod tests;
