//! Formats numbers for a page, as for a terminal but with spaces that do not break at the end of a line.

use crate::render;

/// Formats a count in groups of three digits.
pub(super) fn count(number: u64) -> String {
    tight(&render::count(number))
}

/// Formats a count with its unit, in the singular or the plural.
pub(super) fn counted(number: u64, unit: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {unit}{plural}", count(number))
}

/// Formats a share from 0 to 1 in percent.
pub(super) fn percent(share: f64) -> String {
    tight(&render::percent(share))
}

/// Formats a time in seconds with three digits.
pub(super) fn time(seconds: f64) -> String {
    tight(&render::time(seconds))
}

/// Formats a round time of an axis, in seconds: `0`, `200 µs`, `2.5 s`, `10 min`.
pub(super) fn round_time(seconds: f64) -> String {
    let (number, unit) = match seconds {
        0.0 => return "0".to_owned(),
        s if s < 0.999e-3 => (s * 1e6, "µs"),
        s if s < 0.999 => (s * 1e3, "ms"),
        s if s < 119.9 => (s, "s"),
        s if s < 7199.0 => (s / 60.0, "min"),
        s => (s / 3600.0, "h"),
    };
    tight(&format!("{} {unit}", round(number)))
}

/// Formats a round number of an axis.
pub(super) fn round_count(number: f64) -> String {
    if number.fract() == 0.0 { count(number as u64) } else { round(number) }
}

/// Formats a round share of an axis, from 0 to 1.
pub(super) fn round_percent(share: f64) -> String {
    tight(&format!("{} %", round(share * 100.0)))
}

/// Formats a number without the digits of binary rounding errors.
fn round(number: f64) -> String {
    ((number * 1e6).round() / 1e6).to_string()
}

fn tight(text: &str) -> String {
    text.replace(' ', "\u{202f}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_short() {
        let times = [0.0, 0.0002, 0.001, 0.3, 2.5, 10.0, 600.0, 7200.0].map(round_time);
        let expected = ["0", "200 µs", "1 ms", "300 ms", "2.5 s", "10 s", "10 min", "2 h"];
        assert_eq!(times, expected.map(|text| text.replace(' ', "\u{202f}")));
        assert_eq!([0.0, 0.05, 0.125].map(round_percent), ["0\u{202f}%", "5\u{202f}%", "12.5\u{202f}%"]);
        assert_eq!([0.5, 20_000.0].map(round_count), ["0.5", "20\u{202f}000"]);
    }
}
