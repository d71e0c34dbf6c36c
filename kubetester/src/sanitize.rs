//! Sanitizes text from peers before it is shown: a pod's name or a failure's cause may contain control sequences, which
//! a terminal would obey.

/// No name in Kubernetes is longer.
const LONGEST_NAME: usize = 253;

/// Reasons that are longer tell no more.
const LONGEST_REASON: usize = 500;

/// A pod's name.
pub fn name(text: String) -> String {
    printable(text, LONGEST_NAME)
}

/// Why a call failed.
pub fn reason(text: String) -> String {
    printable(text, LONGEST_REASON)
}

/// The first `longest` characters of a text.
pub fn excerpt(text: &str, longest: usize) -> String {
    printable(text.to_owned(), longest)
}

fn printable(text: String, longest: usize) -> String {
    if text.len() <= longest && !text.contains(obeyed) {
        return text;
    }
    let shown = |c| if obeyed(c) { char::REPLACEMENT_CHARACTER } else { c };
    let mut cut: String = text.chars().take(longest).map(shown).collect();
    if text.chars().nth(longest).is_some() {
        cut.push('…');
    }
    cut
}

/// Returns whether a terminal does something instead of showing it: control characters, and those that turn the direction of
/// the text around them.
fn obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_of_it() {
        for (text, shown) in [
            ("hellogrpc-6dd9", "hellogrpc-6dd9"),
            ("Zoë", "Zoë"),
            ("a\u{1b}[2Jb\r\n", "a\u{fffd}[2Jb\u{fffd}\u{fffd}"),
            ("\u{202e}dop", "\u{fffd}dop"),
            ("\u{9b}31m", "\u{fffd}31m"),
        ] {
            assert_eq!(name(text.to_owned()), shown);
        }
        assert_eq!(name("x".repeat(254)), format!("{}…", "x".repeat(253)));
        assert_eq!(reason("ä".repeat(500)), "ä".repeat(500));
    }
}
