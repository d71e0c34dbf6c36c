//! Draws the outlines of shapes as the `d` attribute of an SVG path. Coordinates are given from 0 to 1. The path is in
//! a box that is [`WIDTH`] wide; the caller sets its height.

use std::fmt::Write as _;

use super::scale::tenth;

/// The width of a plot in the units of its paths. The page stretches it to the available width.
pub(super) const WIDTH: f64 = 1000.0;

/// A path under construction.
#[derive(Debug)]
pub(super) struct Path {
    height: f64,
    drawn: String,
}

// === impl Path ===

impl Path {
    /// Creates an empty path in a box of the given height.
    pub(super) fn new(height: u32) -> Self {
        Self { height: f64::from(height), drawn: String::new() }
    }

    /// Returns the area between two step functions. Each step has its start and end, its lower and its upper edge.
    pub(super) fn area(mut self, steps: &[((f64, f64), f64, f64)]) -> String {
        let Some(((start, _), ..)) = steps.first() else { return self.drawn };
        self.to('M', *start, steps[0].2);
        for ((_, end), _, upper) in steps {
            self.vertically(*upper);
            self.horizontally(*end);
        }
        for ((start, _), lower, _) in steps.iter().rev() {
            self.vertically(*lower);
            self.horizontally(*start);
        }
        self.drawn.push('Z');
        self.drawn
    }

    /// Returns a line through the points, with a gap at each `None`. An isolated point is a dot if line caps are round.
    pub(super) fn line(mut self, points: &[Option<(f64, f64)>]) -> String {
        let mut pen_down = false;
        for (index, point) in points.iter().enumerate() {
            let Some((x, y)) = point else {
                pen_down = false;
                continue;
            };
            self.to(if pen_down { 'L' } else { 'M' }, *x, *y);
            if !pen_down && points.get(index + 1).is_none_or(Option::is_none) {
                self.drawn.push_str("h0");
            }
            pen_down = true;
        }
        self.drawn
    }

    /// Returns horizontal lines across the whole width.
    pub(super) fn rules(mut self, at: impl Iterator<Item = f64>) -> String {
        for y in at {
            self.to('M', 0.0, y);
            self.horizontally(1.0);
        }
        self.drawn
    }

    fn to(&mut self, command: char, x: f64, y: f64) {
        let (x, y) = (tenth(x * WIDTH), tenth((1.0 - y) * self.height));
        self.write(format_args!("{command}{x} {y}"));
    }

    fn horizontally(&mut self, x: f64) {
        self.write(format_args!("H{}", tenth(x * WIDTH)));
    }

    fn vertically(&mut self, y: f64) {
        self.write(format_args!("V{}", tenth((1.0 - y) * self.height)));
    }

    fn write(&mut self, command: std::fmt::Arguments<'_>) {
        self.drawn.write_fmt(command).expect("writing to a String does not fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_has_a_point_for_each_value() {
        let steps = [((0.0, 0.5), 0.0, 0.5), ((0.5, 1.0), 0.1, 1.0)];
        assert_eq!(Path::new(100).area(&steps), "M0 50V50H500V0H1000V90H500V100H0Z");
        assert_eq!(Path::new(100).area(&[]), "");
        let points = [Some((0.0, 0.0)), Some((0.25, 0.5)), None, Some((0.75, 1.0)), None];
        assert_eq!(Path::new(100).line(&points), "M0 100L250 50M750 0h0");
        assert_eq!(Path::new(100).rules([0.0, 0.333].into_iter()), "M0 100H1000M0 66.7H1000");
    }
}
