//! Parses numbers on the command line: plain, or with a suffix as in `10k` and `1.5M`.

use std::num::NonZeroUsize;

/// The maximum number of callers. Each caller takes some kilobytes and, over HTTP, a socket.
const MAX_CALLERS: u64 = 100_000;

/// The maximum number of connections, limited by the local ports of one machine to one address.
const MAX_CONNECTIONS: u64 = 60_000;

/// Parses a number of calls, at least 1.
///
/// # Errors
///
/// Fails with a sentence that names the accepted values.
pub fn calls(text: &str) -> Result<u64, String> {
    match whole(text)? {
        0 => Err("0 calls is not a load; give at least 1".to_owned()),
        calls => Ok(calls),
    }
}

/// Parses a number of callers.
///
/// # Errors
///
/// Fails with a sentence that names the accepted values.
pub fn callers(text: &str) -> Result<NonZeroUsize, String> {
    within(text, MAX_CALLERS)
}

/// Parses a number of connections.
///
/// # Errors
///
/// Fails with a sentence that names the accepted values.
pub fn connections(text: &str) -> Result<NonZeroUsize, String> {
    within(text, MAX_CONNECTIONS)
}

/// Parses a number of calls per second.
///
/// # Errors
///
/// Fails with a sentence that names the accepted values.
pub fn rate(text: &str) -> Result<f64, String> {
    let (number, unit) = scaled(text);
    match number.parse::<f64>().map(|rate| rate * unit as f64) {
        Ok(rate) if (0.001..=10_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("not a rate; give calls a second, from 0.001 to 10M".to_owned()),
    }
}

/// Formats a rate without insignificant digits.
pub fn shown(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.1}") } else { crate::render::count(rate.round() as u64) }
}

/// Parses a whole number.
fn whole(text: &str) -> Result<u64, String> {
    let error = || format!("{text:?} is not a whole number; write 10000, 10k or 1.5M");
    let (number, unit) = scaled(text);
    if let Ok(number) = number.parse::<u64>() {
        return number.checked_mul(unit).ok_or_else(|| format!("{text:?} is too large"));
    }
    let number = number.parse::<f64>().map_err(|_| error())? * unit as f64;
    let fits = unit > 1 && number >= 0.0 && number.fract() == 0.0 && number < 1e15;
    if fits { Ok(number as u64) } else { Err(error()) }
}

fn within(text: &str, max: u64) -> Result<NonZeroUsize, String> {
    let number = whole(text)?;
    let fits = usize::try_from(number).ok().and_then(NonZeroUsize::new).filter(|_| number <= max);
    fits.ok_or_else(|| format!("{text} is out of range; give 1 to {max}"))
}

/// Splits a number from its suffix: `k` is a thousand, `M` a million.
fn scaled(text: &str) -> (&str, u64) {
    for (suffixes, unit) in [(['k', 'K'], 1_000), (['m', 'M'], 1_000_000)] {
        if let Some(number) = text.strip_suffix(suffixes) {
            return (number, unit);
        }
    }
    (text, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffix_scales_the_number() {
        for (text, number) in
            [("1", 1), ("10k", 10_000), ("1.5M", 1_500_000), ("0.1k", 100), ("7K", 7000), ("2m", 2_000_000)]
        {
            assert_eq!(calls(text), Ok(number), "{text}");
        }
        assert_eq!((rate("0.5"), rate("2k"), rate("1.5k")), (Ok(0.5), Ok(2000.0), Ok(1500.0)));
        for wrong in
            ["", "k", "0", "0k", "-1", "1.5", "1.0005k", "ten", "1e3", "nan", "infk", "99999999999999999999"]
        {
            assert!(calls(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "0", "-1", "nan", "inf", "11M", "k"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        assert!(calls("18446744073709551615k").unwrap_err().contains("too large"));
    }

    #[test]
    fn callers_and_connections_out_of_range_are_errors() {
        assert_eq!(callers("10k").map(NonZeroUsize::get), Ok(10_000));
        for wrong in ["0", "100001", "4294967295", "18446744073709551615"] {
            let sentence = callers(wrong).unwrap_err();
            assert!(sentence.contains("1 to 100000"), "{sentence}");
        }
        assert!(connections("1000000000").unwrap_err().contains("1 to 60000"));
    }
}
