//! Expectations: what a load has to show for the exit code to be 0.

use std::{fmt, str::FromStr, time::Duration};

use serde::Serialize;

use crate::{balance::Balance, tally::Tally, verdict::figure};

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

    /// At most this many calls fail: a number, or with % a share of all calls
    #[arg(long, value_name = "N|%")]
    pub max_errors: Option<MaxErrors>,

    /// 99 % of the calls that succeed take at most this long
    #[arg(long, value_name = "TIME", value_parser = service::parse_duration)]
    pub max_p99: Option<Duration>,
}

/// A limit on failed calls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxErrors {
    /// An absolute number.
    Count(u64),
    /// The number of of that a hundred.
    Percent(f64),
}

/// The outcome of an expectation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Checked {
    /// Which: the flag, without dashes.
    pub expectation: &'static str,
    /// True if it held.
    pub held: bool,
    /// The expected and the actual value, as a sentence.
    pub detail: String,
}

// === impl Expectations ===

impl Expectations {
    /// Compares each expectation with what was seen.
    pub fn check(&self, tally: &Tally, balance: &Balance) -> Vec<Checked> {
        let mut checked = Vec::new();
        let mut check = |expectation, held, detail| checked.push(Checked { expectation, held, detail });
        if let Some(expected) = self.expect_pods {
            let seen = balance.pods;
            check("expect-pods", seen == expected, format!("{} answered, {expected} expected", pods(seen)));
        }
        if let Some(limit) = self.max_skew {
            // One pod, or none, is no proof of balance.
            let held = balance.pods > 1 && balance.skew <= limit;
            let seen = match balance.pods {
                0 => "no pod was seen".to_owned(),
                1 => "only one pod was seen".to_owned(),
                _ => format!("the busiest pod took {} times the calls of the idlest", figure(balance.skew)),
            };
            check("max-skew", held, format!("{seen}, at most {} allowed", figure(limit)));
        }
        if let Some(limit) = self.max_errors {
            let (failed, calls) = (tally.failed(), tally.calls());
            check(
                "max-errors",
                limit.allows(failed, calls),
                format!("{failed} of {calls} calls failed, at most {limit} allowed"),
            );
        }
        if let Some(limit) = self.max_p99 {
            let seen = tally.latency.percentile(99.0);
            let held = tally.succeeded > 0 && seen <= limit;
            let seen = match tally.succeeded {
                0 => "no call succeeded".to_owned(),
                _ => format!("p99 was {seen:.3?}"),
            };
            check("max-p99", held, format!("{seen}, at most {limit:?} allowed"));
        }
        checked
    }
}

fn pods(count: usize) -> String {
    if count == 1 { "1 pod".to_owned() } else { format!("{count} pods") }
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
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_refused() {
        assert_eq!("0".parse(), Ok(MaxErrors::Count(0)));
        assert_eq!("0.1%".parse(), Ok(MaxErrors::Percent(0.1)));
        for wrong in ["", "%", "-1", "101%", "few", "1.5", "nan%"] {
            assert!(wrong.parse::<MaxErrors>().is_err(), "{wrong}");
        }
        assert_eq!(skew("1.05"), Ok(1.05));
        for wrong in ["0.9", "", "nan", "even"] {
            assert!(skew(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_share_of_errors_is_of_all_calls() {
        for (limit, failed, calls, allowed) in [
            (MaxErrors::Count(1), 1, 10, true),
            (MaxErrors::Count(1), 2, 10, false),
            (MaxErrors::Percent(10.0), 1, 10, true),
            (MaxErrors::Percent(10.0), 2, 10, false),
            (MaxErrors::Percent(0.0), 0, 0, true),
        ] {
            assert_eq!(limit.allows(failed, calls), allowed, "{limit} {failed}/{calls}");
        }
    }

    #[test]
    fn no_answer_meets_no_expectation_about_answers() {
        let all = Expectations {
            expect_pods: Some(3),
            max_skew: Some(1.1),
            max_errors: Some(MaxErrors::Count(0)),
            max_p99: Some(Duration::from_secs(1)),
        };
        let tally = Tally::default();
        let checked = all.check(&tally, &Balance::of(&tally));
        let held: Vec<_> = checked.iter().map(|one| (one.expectation, one.held)).collect();
        assert_eq!(
            held,
            [("expect-pods", false), ("max-skew", false), ("max-errors", true), ("max-p99", false)]
        );
        assert_eq!(checked[0].detail, "0 pods answered, 3 expected");
    }
}
