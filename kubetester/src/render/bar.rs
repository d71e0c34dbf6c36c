//! Bars of block characters.

/// The eighths of a block, from none to seven.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// Returns a bar that fills `share` (0 to 1) of `width` characters, rounded to an eighth of a character. A share above
/// zero shows at least an eighth.
pub fn bar(share: f64, width: usize) -> String {
    let eighths = (share.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_fills_its_share() {
        for (share, expected) in [
            (0.0, ""),
            (0.0001, "▏"),
            (0.5, "██"),
            (0.53, "██▏"),
            (1.0, "████"),
            (7.0, "████"),
            (f64::NAN, ""),
        ] {
            assert_eq!(bar(share, 4), expected, "{share}");
        }
    }
}
