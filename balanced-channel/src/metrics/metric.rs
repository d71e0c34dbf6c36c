//! One instrument and its series, as values that an exporter walks. The words are OpenTelemetry's.

/// An instrument, with what it has counted by now.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Metric {
    /// gRPC's name for it, such as `grpc.client.attempt.started`.
    pub name: &'static str,
    /// The description, in one sentence.
    pub description: &'static str,
    /// Its unit in UCUM: `s`, `By`, or in braces what is counted, such as `{attempt}`.
    pub unit: &'static str,
    /// The kind of its values.
    pub kind: Kind,
    /// Its series, each with other labels. None as long as nothing was counted, where the labels
    /// come from what is counted.
    pub points: Vec<Point>,
}

/// The kind of an instrument's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It grows and shrinks.
    UpDownCounter,
    /// Many values, counted by how large they are.
    Histogram,
}

/// One series.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Point {
    /// Names and values, `grpc.target` first.
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

/// The number of values that fell between which bounds.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Histogram {
    /// The upper bounds, each included, in the unit of the instrument.
    pub bounds: &'static [f64],
    /// The number of values that there were up to each bound and above the one before; the last count is that
    /// of what is above all bounds, so there is one more than there are bounds.
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

    /// Adds a series, if it has counted anything.
    pub(super) fn push_some(&mut self, labels: Vec<(&'static str, String)>, histogram: Histogram) {
        if histogram.count() > 0 {
            self.push(labels, histogram);
        }
    }

    /// With the only series, which has no labels of its own.
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

    /// The values of a histogram; none of a counter.
    pub fn histogram(&self) -> Option<&Histogram> {
        match &self.value {
            Value::Count(_) => None,
            Value::Histogram(histogram) => Some(histogram),
        }
    }
}

// === impl Histogram ===

impl Histogram {
    /// Adds the values of another with the same bounds.
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
