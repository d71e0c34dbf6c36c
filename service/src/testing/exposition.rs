//! Parses Prometheus' text format (version 0.0.4), and rejects everything that a scraper would reject.

use std::collections::{BTreeMap, BTreeSet};

/// The metrics of one scrape.
#[derive(Debug, Default)]
pub struct Exposition {
    /// The type of each family.
    types: BTreeMap<String, String>,
    /// The samples, by name and labels.
    samples: BTreeMap<(String, Labels), f64>,
}

type Labels = BTreeMap<String, String>;

// === impl Exposition ===

impl Exposition {
    /// Parses the body of a response of `/metrics`.
    ///
    /// # Panics
    ///
    /// If a line is invalid: a sample that does not follow the TYPE of its family, a repeated family or series, an invalid
    /// name, label or number, or a histogram whose buckets decrease or do not end with its count. The message has the line.
    pub fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line must end");
        let (mut this, mut helped, mut family) = (Self::default(), BTreeSet::new(), "");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
                assert!(is_name(name) && !help.is_empty() && helped.insert(name), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
                assert!(is_name(name) && ["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(this.types.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
                family = name;
            } else if !line.is_empty() && !line.starts_with('#') {
                let (name, labels, value) = sample(line).unwrap_or_else(|| panic!("no sample: {line}"));
                assert!(this.belongs(name, family), "not of {family:?}: {line}");
                let new = this.samples.insert((name.to_owned(), labels), value).is_none();
                assert!(new, "twice: {line}");
            }
        }
        this.check_histograms();
        this
    }

    /// Returns the value of the series with this name and exactly these labels, if it exists.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }

    /// Returns the type of a family, such as `histogram`, if it exists.
    pub fn kind(&self, family: &str) -> Option<&str> {
        self.types.get(family).map(String::as_str)
    }

    /// Returns the names of all families.
    pub fn families(&self) -> impl Iterator<Item = &str> {
        self.types.keys().map(String::as_str)
    }

    fn belongs(&self, name: &str, family: &str) -> bool {
        match self.kind(family) {
            Some("histogram") => name
                .strip_prefix(family)
                .is_some_and(|suffix| ["_bucket", "_sum", "_count"].contains(&suffix)),
            Some(_) => name == family,
            None => false,
        }
    }

    fn check_histograms(&self) {
        for family in self.families().filter(|family| self.kind(family) == Some("histogram")) {
            let mut series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
            for ((name, labels), value) in &self.samples {
                if *name == format!("{family}_bucket") {
                    let mut labels = labels.clone();
                    let bound = labels.remove("le").and_then(|bound| number(&bound));
                    let bound = bound.unwrap_or_else(|| panic!("{name} {labels:?} has no bound"));
                    series.entry(labels).or_default().push((bound, *value));
                }
            }
            assert!(!series.is_empty(), "{family} has no buckets");
            for (labels, mut buckets) in series {
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                assert!(buckets.is_sorted_by_key(|bucket| bucket.1), "{family} {labels:?}: {buckets:?}");
                let of = |suffix| self.samples.get(&(format!("{family}{suffix}"), labels.clone()));
                let all = of("_count").map(|count| (f64::INFINITY, *count));
                assert_eq!(buckets.last().copied(), all, "the last bucket of {family} {labels:?}");
                assert!(of("_sum").is_some(), "{family} {labels:?} has no sum");
            }
        }
    }
}

/// Parses `name{label="value",…} value`.
fn sample(line: &str) -> Option<(&str, Labels, f64)> {
    let (name, rest) = line.split_at(line.find(['{', ' '])?);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Labels::new(), rest),
    };
    is_name(name).then_some((name, labels, number(rest.strip_prefix(' ')?)?))
}

/// Parses `label="value",…}` and returns the text after it. A repeated label is invalid.
fn labels(mut text: &str) -> Option<(Labels, &str)> {
    let mut labels = Labels::new();
    loop {
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once("=\"")?;
        let (mut value, mut characters) = (String::new(), rest.char_indices());
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match characters.next()?.1 {
                    'n' => '\n',
                    plain @ ('\\' | '"') => plain,
                    _ => return None,
                }),
                (_, plain) => value.push(plain),
            }
        };
        if !is_name(name) || name.contains(':') || labels.insert(name.to_owned(), value).is_some() {
            return None;
        }
        text = &rest[end + 1..];
        text = text.strip_prefix(',').unwrap_or(text);
    }
}

/// Returns whether the text matches `[a-zA-Z_:][a-zA-Z0-9_:]*`.
fn is_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    name.bytes().all(legal) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        text => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# HELP h Help.\n# TYPE h histogram\nh_bucket{a=\"x\\\"}\",le=\"1\"} 2\n\
                        h_bucket{a=\"x\\\"}\",le=\"+Inf\"} 3\nh_sum{a=\"x\\\"}\"} 7.5\nh_count{a=\"x\\\"}\"} 3\n\
                        # TYPE c counter\nc 1\n";

    #[test]
    fn valid_exposition_is_parsed() {
        let read = Exposition::parse(GOOD);
        assert_eq!(read.value("h_bucket", &[("le", "1"), ("a", "x\"}")]), Some(2.0));
        assert_eq!((read.value("c", &[]), read.kind("h")), (Some(1.0), Some("histogram")));
    }

    #[test]
    fn invalid_exposition_is_rejected() {
        for (from, to) in [
            ("c 1\n", "c 1"),
            ("c 1\n", "c one\n"),
            ("c 1\n", "c 1\nc 2\n"),
            ("c 1\n", "d 1\n"),
            ("# TYPE c counter\n", ""),
            ("# TYPE c counter\n", "# TYPE h histogram\n"),
            ("h_bucket{a=\"x\\\"}\",le=\"1\"} 2", "h_bucket{a=\"x\\\"}\",le=\"1\"} 4"),
            ("le=\"+Inf\"", "le=\"2\""),
            ("h_count{a=\"x\\\"}\"} 3", "h_count{a=\"x\\\"}\"} 4"),
            ("h_sum{a=\"x\\\"}\"} 7.5\n", ""),
            ("h_sum{a=", "h_sum{1a="),
            ("h_sum{a=", "h_sum{b=\"\",b="),
        ] {
            let bad = GOOD.replacen(from, to, 1);
            assert_ne!(bad, GOOD, "{from}");
            assert!(std::panic::catch_unwind(|| Exposition::parse(&bad)).is_err(), "{from} as {to}");
        }
    }
}
