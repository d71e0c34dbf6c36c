//! A plot: shapes in a box of the available width, and labels around it.

use askama::Template;

use super::{
    path::Path,
    scale::{Scale, tenth},
};

/// The minimum distance between two labels at the right, in pixels.
const MIN_LABEL_DISTANCE: f64 = 18.0;

/// The width of a character on a phone, in percent of the width of a plot.
const CHARACTER_WIDTH: f64 = 2.2;

/// A plot, ready for its page.
#[derive(Debug, Template)]
#[template(path = "plot.html")]
pub(super) struct Plot {
    /// The ID of the plot, unique on the page.
    pub(super) id: String,
    pub(super) caption: String,
    /// The description for screen readers.
    pub(super) description: String,
    /// The height in pixels.
    pub(super) height: u32,
    /// The path of the horizontal lines at the ticks of the vertical axis.
    pub(super) grid: String,
    pub(super) shapes: Vec<Shape>,
    pub(super) horizontal: Vec<Tick>,
    pub(super) vertical: Vec<Tick>,
    pub(super) ends: Vec<End>,
    pub(super) marks: Vec<Mark>,
}

/// A path in a colour.
#[derive(Debug)]
pub(super) struct Shape {
    /// The CSS class.
    pub(super) class: String,
    pub(super) path: String,
    pub(super) title: String,
}

/// A label at an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    /// The distance from the left or the top, in percent.
    pub(super) at: f64,
    pub(super) label: String,
}

/// A label beside the end of a shape.
#[derive(Debug)]
pub(super) struct End {
    pub(super) class: String,
    pub(super) label: String,
    /// The distance from the top, in pixels.
    pub(super) at: f64,
}

/// A vertical line with a label.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    /// The distance from the left, in percent.
    pub(super) at: f64,
    pub(super) label: String,
    /// The row of the label above the plot; row 0 is next to the plot.
    pub(super) row: usize,
}

// === impl Plot ===

impl Plot {
    /// Creates an empty plot with a vertical axis.
    pub(super) fn new(
        id: String,
        caption: &str,
        height: u32,
        scale: Scale,
        label: fn(f64) -> String,
    ) -> Self {
        let values = scale.ticks(6);
        let places: Vec<f64> = values.iter().map(|value| scale.place(*value)).collect();
        let tick =
            |(value, place): (&f64, &f64)| Tick { at: tenth(100.0 * (1.0 - place)), label: label(*value) };
        Self {
            id,
            caption: caption.to_owned(),
            description: String::new(),
            height,
            grid: Path::new(height).rules(places.iter().copied()),
            shapes: Vec::new(),
            horizontal: Vec::new(),
            vertical: values.iter().zip(&places).map(tick).collect(),
            ends: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// Adds labels to the horizontal axis.
    pub(super) fn along(mut self, scale: Scale, values: &[f64], label: fn(f64) -> String) -> Self {
        self.horizontal = values.iter().map(|value| Tick::new(scale, *value, label)).collect();
        self
    }

    pub(super) fn shape(&mut self, class: &str, path: String, title: &str) {
        if !path.is_empty() {
            self.shapes.push(Shape { class: class.to_owned(), path, title: title.to_owned() });
        }
    }

    /// Adds a label at the right end of a shape; `at` is from 0 at the bottom to 1 at the top.
    pub(super) fn end(&mut self, class: &str, label: &str, at: f64) {
        let at = (1.0 - at) * f64::from(self.height);
        self.ends.push(End { class: class.to_owned(), label: label.to_owned(), at });
    }

    /// Moves overlapping labels apart, first downwards from the top, then upwards from the bottom.
    pub(super) fn settle(mut self) -> Self {
        self.ends.sort_by(|a, b| a.at.total_cmp(&b.at));
        let mut free = MIN_LABEL_DISTANCE / 2.0;
        for end in &mut self.ends {
            end.at = end.at.max(free);
            free = end.at + MIN_LABEL_DISTANCE;
        }
        let mut free = f64::from(self.height) - MIN_LABEL_DISTANCE / 2.0;
        for end in self.ends.iter_mut().rev() {
            end.at = tenth(end.at.min(free));
            free = end.at - MIN_LABEL_DISTANCE;
        }
        self
    }

    /// Returns the number of rows that the labels of the marks need above the plot.
    pub(super) fn rows(&self) -> usize {
        height(&self.marks)
    }
}

// === impl Tick ===

impl Tick {
    /// Creates a tick on the horizontal axis.
    pub(super) fn new(scale: Scale, value: f64, label: fn(f64) -> String) -> Self {
        Self { at: scale.percent(value), label: label(value) }
    }
}

/// Assigns each mark a row in which its label overlaps no other label. The marks are sorted by their positions.
pub(super) fn rows(mut marks: Vec<Mark>) -> Vec<Mark> {
    let mut ends: Vec<f64> = Vec::new();
    for mark in &mut marks {
        let length = mark.label.chars().count() as f64 * CHARACTER_WIDTH + CHARACTER_WIDTH;
        let (from, to) =
            if mark.leftward() { (mark.at - length, mark.at) } else { (mark.at, mark.at + length) };
        mark.row = ends.iter().position(|end| *end <= from).unwrap_or(ends.len());
        match ends.get_mut(mark.row) {
            Some(end) => *end = to,
            None => ends.push(to),
        }
    }
    marks
}

/// Returns the number of rows that the marks are in.
pub(super) fn height(marks: &[Mark]) -> usize {
    marks.iter().map(|mark| mark.row + 1).max().unwrap_or_default()
}

// === impl Mark ===

impl Mark {
    /// Creates a mark in the row next to the plot.
    pub(super) fn new(scale: Scale, value: f64, label: String) -> Self {
        Self { at: scale.percent(value), label, row: 0 }
    }

    /// Returns whether the label is to the left of the line. Near the right edge it would otherwise leave the plot.
    pub(super) fn leftward(&self) -> bool {
        self.at > 60.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_marks_do_not_overlap() {
        let mark = |at, label: &str| Mark { at, label: label.to_owned(), row: 0 };
        let marks = vec![
            mark(10.0, "1"),
            mark(11.0, "2"),
            mark(16.0, "3"),
            mark(97.0, "was killed"),
            mark(99.0, "x"),
        ];
        let rows: Vec<_> = rows(marks).iter().map(|mark| mark.row).collect();
        assert_eq!(rows, [0, 1, 0, 0, 1]);
    }

    #[test]
    fn labels_keep_their_distance_and_stay_inside() {
        for places in [&[1.0, 0.99, 0.98][..], &[0.0, 0.0, 0.0], &[0.5, 0.5, 0.45, 0.01, 1.0], &[0.3; 6]] {
            let mut plot = Plot::new("p".into(), "", 200, Scale::Linear(1.0), |_| String::new());
            places.iter().for_each(|place| plot.end("", "", *place));
            let plot = plot.settle();
            let at: Vec<_> = plot.ends.iter().map(|end| end.at).collect();
            assert!(at.windows(2).all(|two| two[1] - two[0] >= MIN_LABEL_DISTANCE - 0.11), "{at:?}");
            assert!(at.iter().all(|at| (9.0..=191.0).contains(at)), "{at:?}");
        }
    }
}
