//! Formats numbers for people.

/// Formats a count in groups of three digits: `1 234 567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Formats a count with its unit, in the singular or the plural: `1 call`, `1 234 calls`.
pub fn counted(number: u64, unit: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {unit}{plural}", count(number))
}

/// Formats a share from 0 to 1 in percent: `33.3 %`.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Formats a time in seconds with three digits and a suitable unit: `45.3 µs`, `1.23 ms`, `2.50 s`.
pub fn time(seconds: f64) -> String {
    let (number, unit) = match seconds {
        s if s < 1e-3 => (s * 1e6, "µs"),
        s if s < 1.0 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    match number {
        n if n < 10.0 => format!("{n:.2} {unit}"),
        n if n < 100.0 => format!("{n:.1} {unit}"),
        n => format!("{n:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_formatted_with_its_unit() {
        assert_eq!(
            ["0", "999", "1 000", "1 234 567"],
            [0, 999, 1000, 1_234_567].map(count).each_ref().map(String::as_str)
        );
        assert_eq!(
            ["0 calls", "1 call", "1 000 calls"],
            [0, 1, 1000].map(|number| counted(number, "call")).each_ref().map(String::as_str)
        );
        let times = [0.000_045_3, 0.001_234, 0.0567, 0.234, 2.5, 73.0, 600.0].map(time);
        assert_eq!(times, ["45.3 µs", "1.23 ms", "56.7 ms", "234 ms", "2.50 s", "73.0 s", "600 s"]);
        assert_eq!(percent(1.0 / 3.0), "33.3 %");
    }
}
