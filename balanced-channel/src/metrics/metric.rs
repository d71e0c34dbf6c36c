//! Instruments and their series as plain values for exporters, in OpenTelemetry's terms.

/// An instrument and its current values.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Metric {
    /// The name in gRPC, such as `grpc.client.attempt.started`.
    pub name: &'static str,
    /// The description, in one sentence.
    pub description: &'static str,
    /// The unit in UCUM: `s`, `By`, or the counted item in braces, such as `{attempt}`.
    pub unit: &'static str,
    /// The kind of the values.
    pub kind: Kind,
    /// The series, each with different labels. Empty until the first value is recorded if the labels depend on recorded
    /// values, such as the status of calls.
    pub points: Vec<Point>,
}

/// The kind of an instrument's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A count that only increases.
    Counter,
    /// A count that increases and decreases.
    UpDownCounter,
    /// A distribution of values.
    Histogram,
}

/// One series.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Point {
    /// The names and values of the labels, `grpc.target` first.
    pub labels: Vec<(&'static str, String)>,
    /// The value since the channel was built.
    pub value: Value,
}

/// The value of one series.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// The value of a counter.
    Count(u64),
    /// The value of a histogram.
    Histogram(Histogram),
}

/// The number of values in each bucket.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Histogram {
    /// The upper bounds of the buckets, inclusive, in the unit of the instrument.
    pub bounds: &'static [f64],
    /// The number of values in each bucket: up to its bound and above the bound before. The last count is that of the
    /// values above all bounds, so there is one more count than bounds.
    pub counts: Vec<u64>,
    /// The sum of all values.
    pub sum: f64,
}

// === impl Metric ===

impl Metric {
    pub(crate) fn counter(name: &'static str, unit: &'static str, description: &'static str) -> Self {
        Self { name, description, unit, kind: Kind::Counter, points: Vec::new() }
    }

    pub(crate) fn up_down_counter(name: &'static str, unit: &'static str, description: &'static str) -> Self {
        Self { kind: Kind::UpDownCounter, ..Self::counter(name, unit, description) }
    }

    pub(super) fn histogram(name: &'static str, unit: &'static str, description: &'static str) -> Self {
        Self { kind: Kind::Histogram, ..Self::counter(name, unit, description) }
    }

    /// Adds a series.
    pub(crate) fn push(&mut self, labels: Vec<(&'static str, String)>, value: impl Into<Value>) {
        self.points.push(Point { labels, value: value.into() });
    }

    /// Adds a series, unless its histogram is empty.
    pub(super) fn push_some(&mut self, labels: Vec<(&'static str, String)>, histogram: Histogram) {
        if histogram.count() > 0 {
            self.push(labels, histogram);
        }
    }

    /// Adds the only series, which has no labels of its own.
    pub(crate) fn with(mut self, value: impl Into<Value>) -> Self {
        self.push(Vec::new(), value);
        self
    }
}

// === impl Value ===

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<Histogram> for Value {
    fn from(histogram: Histogram) -> Self {
        Self::Histogram(histogram)
    }
}

// === impl Point ===

impl Point {
    /// Returns the value of a counter; `None` for a histogram.
    pub fn count(&self) -> Option<u64> {
        match &self.value {
            Value::Count(count) => Some(*count),
            Value::Histogram(_) => None,
        }
    }

    /// Returns the value of a histogram; `None` for a counter.
    pub fn histogram(&self) -> Option<&Histogram> {
        match &self.value {
            Value::Count(_) => None,
            Value::Histogram(histogram) => Some(histogram),
        }
    }
}

// === impl Histogram ===

impl Histogram {
    /// Adds the values of another histogram with the same bounds.
    pub(super) fn plus(mut self, other: &Self) -> Self {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.sum += other.sum;
        self
    }

    /// Returns the total number of values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}
