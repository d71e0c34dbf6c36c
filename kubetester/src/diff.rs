//! Compares two results of the same load at different times and finds the figures that have become worse.
//!
//! The results are read from the documents that `--json` prints. [`Diff`] is itself the document that `diff --json`
//! prints. Fields are only ever added to it; any other change changes its version.

mod document;

use std::fmt;

use serde::Serialize;

use self::document::Load;
pub use self::document::{CannotCompare, Loads};

/// The version of the document.
pub const SCHEMA: &str = "kubetester.diff/1";

/// The amounts by which figures may become worse.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(next_help_heading = "Thresholds (exit code 1 when one is crossed)")]
pub struct Thresholds {
    /// p50, p95 and p99 may grow by at most this share
    #[arg(long, value_name = "%", default_value = "10%", value_parser = share)]
    pub latency: f64,

    /// Calls per second may fall by at most this share
    #[arg(long, value_name = "%", default_value = "10%", value_parser = share)]
    pub rate: f64,

    /// The share of calls that fail, or are never made, may grow by at most this many percentage points
    #[arg(long, value_name = "%", default_value = "0.1%", value_parser = share)]
    pub errors: f64,

    /// The skew (calls of the busiest pod over those of the least loaded one) may grow by at most this share
    #[arg(long, value_name = "%", default_value = "10%", value_parser = share)]
    pub skew: f64,
}

/// The changes between two results.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Diff {
    /// The kind and version of the document.
    #[cfg_attr(test, schemars(extend("const" = SCHEMA)))]
    pub schema: &'static str,
    /// The targets of both results with their figures.
    pub targets: Vec<TargetDiff>,
}

/// The changes of one target's figures.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TargetDiff {
    /// The name of a gateway's route, or the target.
    pub name: String,
    /// The figures before and after.
    pub figures: Vec<Change>,
}

/// One figure before and after. Times are in seconds, shares from 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Change {
    /// The figure: `p50`, `p95`, `p99`, `calls_per_second`, `errors`, `pods` or `skew`.
    pub figure: Figure,
    /// The value before; null if there was none.
    pub before: Option<f64>,
    /// The value after; null if there is none.
    pub after: Option<f64>,
    /// True if the figure has become worse by more than its threshold allows.
    pub worse: bool,
}

/// The figures that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Median latency.
    P50,
    /// The 95th percentile of the latency.
    P95,
    /// The 99th percentile of the latency.
    P99,
    /// Calls per second.
    CallsPerSecond,
    /// The share of calls that failed or were never made.
    Errors,
    /// Pods that answered: fewer are worse.
    Pods,
    /// Calls of the busiest pod over those of the least loaded pod.
    Skew,
}

// === impl Diff ===

impl Diff {
    /// Compares two documents. Two single loads are compared even if their targets differ, for example by the port.
    ///
    /// # Errors
    ///
    /// Fails if the two results do not have the same targets.
    pub fn new(before: &Loads, after: &Loads, thresholds: &Thresholds) -> Result<Self, CannotCompare> {
        let mut targets = Vec::new();
        if let ([(_, before)], [(name, after)]) = (&before.0[..], &after.0[..]) {
            targets.push(TargetDiff::new(name, before, after, thresholds));
        } else {
            let other = |name: &String| before.0.iter().find(|(other, _)| other == name);
            for (name, load) in &after.0 {
                let Some((_, before)) = other(name) else {
                    return Err(CannotCompare(format!("{name} is only in the later result")));
                };
                targets.push(TargetDiff::new(name, before, load, thresholds));
            }
            let gone = before.0.iter().find(|(name, _)| !after.0.iter().any(|(other, _)| other == name));
            if let Some((name, _)) = gone {
                return Err(CannotCompare(format!("{name} is only in the earlier result")));
            }
        }
        Ok(Self { schema: SCHEMA, targets })
    }

    /// Returns whether no figure has become worse by more than its threshold allows.
    pub fn held(&self) -> bool {
        self.targets.iter().all(|target| target.figures.iter().all(|figure| !figure.worse))
    }
}

// === impl TargetDiff ===

impl TargetDiff {
    fn new(name: &str, before: &Load, after: &Load, thresholds: &Thresholds) -> Self {
        let change = |figure: Figure| {
            let (before, after) = (figure.of(before), figure.of(after));
            Change { figure, before, after, worse: figure.is_worse(before, after, thresholds) }
        };
        Self { name: name.to_owned(), figures: Figure::ALL.map(change).into() }
    }
}

// === impl Figure ===

impl Figure {
    /// All figures, in the order in which a table shows them.
    pub const ALL: [Self; 7] =
        [Self::P50, Self::P95, Self::P99, Self::CallsPerSecond, Self::Errors, Self::Pods, Self::Skew];

    fn of(self, load: &Load) -> Option<f64> {
        let latency = |value: f64| Some(value).filter(|_| load.succeeded > 0);
        match self {
            Self::P50 => latency(load.latency.p50),
            Self::P95 => latency(load.latency.p95),
            Self::P99 => latency(load.latency.p99),
            Self::CallsPerSecond => Some(load.calls_per_second),
            Self::Errors => {
                let unsent = load.schedule.as_ref().map_or(0, |schedule| schedule.unsent);
                Some((load.failed + unsent) as f64 / (load.calls + unsent).max(1) as f64)
            }
            Self::Pods => Some(load.balance.pods as f64),
            Self::Skew => load.balance.p_value.map(|_| load.balance.skew.unwrap_or(f64::INFINITY)),
        }
    }

    fn is_worse(self, before: Option<f64>, after: Option<f64>, thresholds: &Thresholds) -> bool {
        let Some(before) = before else { return false };
        // The figure is missing now: no call succeeded, or only one pod answered.
        let Some(after) = after else { return true };
        match self {
            Self::P50 | Self::P95 | Self::P99 => after > before * (1.0 + thresholds.latency),
            Self::CallsPerSecond => after < before * (1.0 - thresholds.rate),
            Self::Errors => after > before + thresholds.errors,
            Self::Pods => after < before,
            Self::Skew => after > before * (1.0 + thresholds.skew),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::CallsPerSecond => "calls/s",
            Self::Errors => "errors",
            Self::Pods => "pods",
            Self::Skew => "skew",
        })
    }
}

/// Parses a share in percent.
fn share(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim_end().parse::<f64>();
    match number {
        Ok(percent) if (0.0..=10_000.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("not a share; give 10% for example".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { latency: 0.1, rate: 0.1, errors: 0.001, skew: 0.1 };

    fn load(p99: f64, failed: u64, pods: u64) -> Value {
        json!({
            "schema": "kubetester.load/1", "target": "http://gw/", "calls": 1000, "succeeded": 1000 - failed,
            "failed": failed, "calls_per_second": 500.0, "schedule": {"late": 0, "latest": 0.0, "unsent": 0},
            "latency": {"p50": 0.001, "p95": 0.002, "p99": p99},
            "balance": {"pods": pods, "skew": 1.01, "p_value": 0.9}
        })
    }

    fn worse(before: &Value, after: &Value) -> Vec<Figure> {
        let read = |value: &Value| Loads::read(&value.to_string()).unwrap();
        let diff = Diff::new(&read(before), &read(after), &THRESHOLDS).unwrap();
        let figures = diff.targets[0].figures.iter().filter(|change| change.worse);
        let figures: Vec<_> = figures.map(|change| change.figure).collect();
        assert_eq!(diff.held(), figures.is_empty());
        figures
    }

    #[test]
    fn figure_is_worse_beyond_its_threshold() {
        let before = load(0.010, 0, 3);
        for (after, expected) in [
            (load(0.010, 0, 3), &[][..]),
            (load(0.0109, 1, 4), &[]),
            (load(0.012, 0, 3), &[Figure::P99]),
            (load(0.010, 2, 2), &[Figure::Errors, Figure::Pods]),
            (load(0.008, 0, 3), &[]),
        ] {
            assert_eq!(worse(&before, &after), expected, "{after}");
        }
        let mut slow = load(0.010, 0, 3);
        slow["calls_per_second"] = json!(449.0);
        slow["balance"]["skew"] = json!(1.2);
        assert_eq!(worse(&before, &slow), [Figure::CallsPerSecond, Figure::Skew]);
        let mut unsent = load(0.010, 0, 3);
        unsent["schedule"]["unsent"] = json!(100);
        assert_eq!(worse(&before, &unsent), [Figure::Errors]);
        // Figures that existed before are missing.
        let mut gone = load(0.010, 1000, 1);
        gone["balance"]["p_value"] = Value::Null;
        assert_eq!(
            worse(&before, &gone),
            [Figure::P50, Figure::P95, Figure::P99, Figure::Errors, Figure::Pods, Figure::Skew]
        );
    }

    #[test]
    fn comparisons_are_matched_by_name_and_others_are_errors() {
        let comparison = |names: &[&str]| {
            let results: Vec<_> =
                names.iter().map(|name| json!({"name": name, "load": load(0.01, 0, 3)})).collect();
            let document = json!({"schema": "kubetester.compare/1", "results": results});
            Loads::read(&document.to_string()).unwrap()
        };
        let both = comparison(&["a", "b"]);
        assert_eq!(Diff::new(&both, &comparison(&["b", "a"]), &THRESHOLDS).unwrap().targets.len(), 2);
        for (names, words) in
            [(&["a", "c"][..], "c is only in the later"), (&["a"], "b is only in the earlier")]
        {
            let error = Diff::new(&both, &comparison(names), &THRESHOLDS).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
        for (text, words) in [
            ("{", "not JSON"),
            ("{}", "no schema"),
            ("{\"schema\": \"kubetester.diff/1\"}", "no loads"),
            ("{\"schema\": \"kubetester.load/1\"}", "missing field"),
        ] {
            let error = Loads::read(text).err().unwrap();
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn share_is_parsed_from_percent() {
        assert_eq!((share("10%"), share("0.5 %"), share("20")), (Ok(0.1), Ok(0.005), Ok(0.2)));
        for wrong in ["", "%", "-1%", "nan%", "ten"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
