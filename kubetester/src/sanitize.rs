//! Sanitizes text from peers before it is printed: a pod's name or an error message may contain control sequences that
//! a terminal would execute.

/// The maximum length of a name in Kubernetes.
const MAX_NAME_CHARS: usize = 253;

/// The maximum length of an error message.
const MAX_REASON_CHARS: usize = 500;

/// Sanitizes a pod's name.
pub fn name(text: String) -> String {
    without_controls(text, MAX_NAME_CHARS)
}

/// Sanitizes the cause of a failed call.
pub fn reason(text: String) -> String {
    without_controls(text, MAX_REASON_CHARS)
}

/// Sanitizes the first `longest` characters of a text.
pub fn excerpt(text: &str, longest: usize) -> String {
    without_controls(text.to_owned(), longest)
}

fn without_controls(text: String, longest: usize) -> String {
    if text.len() <= longest && !text.contains(is_interpreted) {
        return text;
    }
    let shown = |c| if is_interpreted(c) { char::REPLACEMENT_CHARACTER } else { c };
    let mut cut: String = text.chars().take(longest).map(shown).collect();
    if text.chars().nth(longest).is_some() {
        cut.push('…');
    }
    cut
}

/// Returns whether a terminal interprets the character instead of printing it: control characters, and characters that
/// change the direction of the text around them.
fn is_interpreted(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_replaced_and_long_text_is_cut() {
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
