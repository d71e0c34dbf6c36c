//! The plots of a page, for one load or for several loads on the same scales.

use super::{
    format::{count, counted, round_count, round_percent, round_time, time},
    intervals::Intervals,
    path::Path,
    plot::{Mark, Plot, rows},
    pods::Drawn,
    scale::Scale,
};
use crate::result::{Bin, LoadResult, OverTime};

const HEIGHT: u32 = 200;
const LOW_HEIGHT: u32 = 90;

/// The number of pods beyond which an additional plot shows the pods by their calls.
const MAX_STACKED_PODS: usize = 12;

/// The scales that the plots of a page share.
#[derive(Debug)]
pub(super) struct Plots {
    drawn: Drawn,
    time: Scale,
    rate: Scale,
    failures: Option<Scale>,
    latency: Option<Scale>,
    share: Scale,
    /// The latency axis of the histograms.
    histogram: Option<Scale>,
    /// The events, with their times in seconds. Each is a vertical line in the plots over time.
    events: Vec<(f64, String)>,
}

/// The plots of one load.
#[derive(Debug, Default)]
pub(super) struct Drawing {
    pub(super) over_time: Vec<Plot>,
    /// The distribution of latencies.
    pub(super) histogram: Option<Plot>,
    /// The pods by their calls, if there are many.
    pub(super) ranks: Option<Plot>,
}

/// The calls per second of one pod, of all further pods, or of calls without a pod.
struct Band<'a> {
    class: String,
    label: &'a str,
    rates: Vec<f64>,
}

// === impl Plots ===

impl Plots {
    /// Chooses scales that fit all loads.
    pub(super) fn of(loads: &[&LoadResult], events: Vec<(f64, String)>) -> Self {
        let details = || loads.iter().filter_map(|load| Some((*load, load.over_time.as_ref()?)));
        let rates = |counts: fn(&OverTime) -> &[u64]| {
            let of = |(load, over_time): (&LoadResult, &OverTime)| {
                let rates = Intervals::new(over_time.width, load.elapsed).rates(counts(over_time));
                rates.into_iter().fold(0.0, f64::max)
            };
            details().map(of).fold(0.0, f64::max)
        };
        let failed = rates(|over_time| &over_time.failed);
        let latencies =
            || details().flat_map(|(_, over)| over.p50.iter().chain(&over.p90).chain(&over.p99)).flatten();
        let least = latencies().copied().fold(f64::INFINITY, f64::min);
        let most = latencies().copied().fold(0.0, f64::max);
        let shares = loads.iter().flat_map(|load| {
            let bins = load.histogram.iter().flatten();
            bins.map(|bin| bin.calls as f64 / load.succeeded.max(1) as f64)
        });
        let bins = || loads.iter().filter_map(|load| load.histogram.as_deref());
        let fastest =
            bins().filter_map(|bins| bins.first()).map(|bin| bin.from).fold(f64::INFINITY, f64::min);
        let slowest = bins().filter_map(|bins| bins.last()).map(|bin| bin.to).fold(0.0, f64::max);
        Self {
            drawn: Drawn::of(loads),
            time: Scale::Linear(loads.iter().map(|load| load.elapsed).fold(0.0, f64::max)),
            rate: Scale::up_to(rates(|over_time| &over_time.succeeded), 4),
            failures: (failed > 0.0).then(|| Scale::up_to(failed, 2)),
            latency: (most > 0.0).then(|| Scale::around(least, most)),
            share: Scale::up_to(shares.fold(0.0, f64::max), 4),
            histogram: (fastest < slowest).then(|| Scale::around(fastest, slowest)),
            events,
        }
    }

    /// Draws the plots of one load; `name` is the prefix of their IDs.
    pub(super) fn draw(&self, name: &str, load: &LoadResult) -> Drawing {
        let mut drawing = Drawing::default();
        let Some(over_time) = load.over_time.as_ref().filter(|_| load.calls > 0) else { return drawing };
        let spans = Intervals::new(over_time.width, load.elapsed);
        drawing.over_time.push(self.calls(name, load, over_time, &spans));
        if let Some(scale) = self.failures {
            drawing.over_time.push(self.failures(name, over_time, &spans, scale));
        }
        if let Some(scale) = self.latency.filter(|_| load.succeeded > 0) {
            drawing.over_time.push(self.latency(name, over_time, &spans, scale));
            drawing.histogram = self.histogram(name, load);
        }
        drawing.ranks = (load.pods.len() > MAX_STACKED_PODS).then(|| ranks(name, load));
        drawing
    }

    fn calls(&self, name: &str, load: &LoadResult, over_time: &OverTime, spans: &Intervals) -> Plot {
        let caption = "Calls a second that succeeded, by pod";
        let mut plot = self.over_time(format!("{name}-calls"), caption, HEIGHT, self.rate, round_count);
        let bands = self.bands(over_time, spans);
        let mut below = vec![0.0; spans.len()];
        // The label of a band is at the height of its middle in the last full interval.
        let last = spans.len().saturating_sub(2);
        for band in bands {
            let above: Vec<f64> = below.iter().zip(&band.rates).map(|(below, rate)| below + rate).collect();
            let steps: Vec<_> = spans
                .iter()
                .zip(below.iter().zip(&above))
                .map(|((from, to), (low, high))| {
                    (self.span(from, to), self.rate.place(*low), self.rate.place(*high))
                })
                .collect();
            plot.shape(&format!("area {}", band.class), Path::new(HEIGHT).area(&steps), band.label);
            let middle = (below.get(last).unwrap_or(&0.0) + above.get(last).unwrap_or(&0.0)) / 2.0;
            plot.end(&band.class, band.label, self.rate.place(middle));
            below = above;
        }
        let peak = below.iter().copied().fold(0.0, f64::max);
        plot.description = format!(
            "Stacked area over {}: {} succeeded, {} a second at most, by {}. The table by pod has the figures.",
            time(load.elapsed),
            counted(load.succeeded, "call"),
            count(peak.round() as u64),
            counted(load.pods.len() as u64, "pod"),
        );
        plot.settle()
    }

    fn bands(&self, over_time: &OverTime, spans: &Intervals) -> Vec<Band<'_>> {
        let mut rest = over_time.succeeded.clone();
        let mut take = |counts: &[u64]| {
            for (rest, count) in rest.iter_mut().zip(counts) {
                *rest = rest.saturating_sub(*count);
            }
        };
        let mut bands = Vec::new();
        for label in self.drawn.names() {
            let Some(pod) = over_time.pods.iter().find(|pod| pod.name == label) else { continue };
            take(&pod.calls);
            bands.push(Band { class: self.drawn.class(label), label, rates: spans.rates(&pod.calls) });
        }
        if rest.iter().any(|calls| *calls > 0) {
            let label = if self.drawn.others > 0 { "all others" } else { "no pod named" };
            bands.push(Band { class: "rest".to_owned(), label, rates: spans.rates(&rest) });
        }
        bands
    }

    fn failures(&self, name: &str, over_time: &OverTime, spans: &Intervals, scale: Scale) -> Plot {
        let caption = "Calls a second that failed";
        let mut plot = self.over_time(format!("{name}-failures"), caption, LOW_HEIGHT, scale, round_count);
        let rates = spans.rates(&over_time.failed);
        let steps: Vec<_> = spans
            .iter()
            .zip(&rates)
            .map(|((from, to), rate)| (self.span(from, to), 0.0, scale.place(*rate)))
            .collect();
        plot.shape("area failed", Path::new(LOW_HEIGHT).area(&steps), "failed calls");
        let peak = rates.iter().copied().fold(0.0, f64::max);
        let total = over_time.failed.iter().sum();
        plot.description =
            format!("{} failed, {} a second at most.", counted(total, "call"), count(peak.round() as u64));
        plot
    }

    fn latency(&self, name: &str, over_time: &OverTime, spans: &Intervals, scale: Scale) -> Plot {
        let caption = "Latency of the calls that succeeded";
        let mut plot = self.over_time(format!("{name}-latency"), caption, HEIGHT, scale, round_time);
        for (class, series) in [("p99", &over_time.p99), ("p90", &over_time.p90), ("p50", &over_time.p50)] {
            let points: Vec<_> = spans
                .iter()
                .enumerate()
                .map(|(number, (from, to))| {
                    let latency = series.get(number).copied().flatten()?;
                    Some((self.time.place((from + to) / 2.0), scale.place(latency)))
                })
                .collect();
            if let Some((_, y)) = points.iter().rev().flatten().next() {
                plot.end(class, class, *y);
            }
            plot.shape(&format!("line {class}"), Path::new(HEIGHT).line(&points), class);
        }
        plot.description =
            "Median, 90th and 99th percentile over time, on a logarithmic axis. The table of percentiles has the figures."
                .to_owned();
        plot.settle()
    }

    fn histogram(&self, name: &str, load: &LoadResult) -> Option<Plot> {
        let bins = load.histogram.as_ref().filter(|bins| !bins.is_empty())?;
        let scale = self.histogram?;
        let caption = "How many calls took how long";
        let mut plot =
            Plot::new(format!("{name}-histogram"), caption, HEIGHT - 40, self.share, round_percent).along(
                scale,
                &scale.ticks(7),
                round_time,
            );
        let steps: Vec<_> = bins
            .iter()
            .map(|Bin { from, to, calls }| {
                let share = *calls as f64 / load.succeeded as f64;
                ((scale.place(*from), scale.place(*to)), 0.0, self.share.place(share))
            })
            .collect();
        plot.shape("area bins", Path::new(plot.height).area(&steps), "calls by latency");
        let latency = &load.latency;
        let marks = [("p50", latency.p50), ("p90", latency.p90), ("p99", latency.p99)];
        let mark = |(row, (name, value)): (usize, (&str, f64))| Mark {
            row,
            ..Mark::new(scale, value, format!("{name} {}", time(value)))
        };
        // The lowest percentile is in the bottom row, so that no label crosses the line of a lower percentile.
        plot.marks = marks.into_iter().rev().enumerate().map(mark).collect();
        plot.description = format!(
            "Histogram of the latencies of {}, from {} to {}; half took no longer than {}, 99 % no longer than {}.",
            counted(load.succeeded, "call"),
            time(latency.min),
            time(latency.max),
            time(latency.p50),
            time(latency.p99),
        );
        Some(plot)
    }

    /// Creates an empty plot over time.
    fn over_time(
        &self,
        id: String,
        caption: &str,
        height: u32,
        scale: Scale,
        label: fn(f64) -> String,
    ) -> Plot {
        let mut plot = Plot::new(id, caption, height, scale, label).along(
            self.time,
            &self.time.time_ticks(6),
            round_time,
        );
        let mark = |(at, label): &(f64, String)| Mark::new(self.time, *at, label.clone());
        plot.marks = rows(self.events.iter().map(mark).collect());
        plot
    }

    fn span(&self, from: f64, to: f64) -> (f64, f64) {
        (self.time.place(from), self.time.place(to))
    }
}

/// Draws the pods by their calls, which shows the evenness of many pods.
fn ranks(name: &str, load: &LoadResult) -> Plot {
    let mut calls: Vec<u64> = load.pods.iter().map(|pod| pod.calls).collect();
    calls.sort_unstable_by(|a, b| b.cmp(a));
    let (most, least) =
        (calls.first().copied().unwrap_or_default(), calls.last().copied().unwrap_or_default());
    let scale = Scale::up_to(most as f64, 4);
    let along = Scale::Linear(calls.len() as f64);
    let ticks: Vec<f64> = along.ticks(6).into_iter().filter(|tick| tick.fract() == 0.0).collect();
    let mut plot = Plot::new(
        format!("{name}-ranks"),
        "Calls of each pod, the busiest first",
        LOW_HEIGHT,
        scale,
        round_count,
    )
    .along(along, &ticks, round_count);
    let places =
        (0..calls.len()).map(|number| (along.place(number as f64), along.place(number as f64 + 1.0)));
    let steps: Vec<_> =
        places.zip(&calls).map(|(span, calls)| (span, 0.0, scale.place(*calls as f64))).collect();
    plot.shape("area rest", Path::new(LOW_HEIGHT).area(&steps), "calls of each pod");
    plot.description = format!(
        "{} pods; the busiest took {} calls, the least busy {}.",
        calls.len(),
        count(most),
        count(least)
    );
    plot
}
