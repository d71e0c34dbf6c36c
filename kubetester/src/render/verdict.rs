//! Prints a verdict as lines of text, most important finding first.

use std::fmt::{self, Write as _};

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets::NOTHING};

use crate::verdict::Tone;

/// The width of the text, in columns.
const WIDTH: u16 = 80;

/// The number of columns of label and indent beyond which the label gets a line of its own.
const MAX_LABEL_COLUMNS: usize = 26;

/// Writes sentences after a label in the colour of `tone`. Each starts on a line of its own and is wrapped.
pub(super) fn labelled<'a>(
    page: &mut String,
    label: &str,
    tone: Tone,
    sentences: impl Iterator<Item = &'a str>,
) -> fmt::Result {
    let style = style(tone);
    let mut indent = label.chars().count() + 2;
    if indent > MAX_LABEL_COLUMNS {
        indent = 2;
        writeln!(page, "{style}{}{style:#}", label.trim_end())?;
    }
    for (index, line) in sentences.flat_map(|sentence| wrapped(sentence, indent)).enumerate() {
        match index {
            0 if indent > 2 => writeln!(page, "{style}{label}{style:#}  {line}")?,
            _ => writeln!(page, "{:indent$}{line}", "")?,
        }
    }
    Ok(())
}

/// Returns the style of a tone.
pub(super) fn style(tone: Tone) -> Style {
    match tone {
        Tone::Neutral => Style::new().bold(),
        Tone::Good => AnsiColor::Green.on_default().bold(),
        Tone::Warning => AnsiColor::Yellow.on_default().bold(),
        Tone::Bad => AnsiColor::Red.on_default().bold(),
    }
}

/// Wraps a sentence into lines that leave `indent` columns free.
pub(super) fn wrapped(sentence: &str, indent: usize) -> Vec<String> {
    let width = usize::from(WIDTH).saturating_sub(indent).max(20);
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::try_from(width).unwrap_or(WIDTH))
        .add_row([sentence]);
    if let Some(column) = table.column_mut(0) {
        column.set_padding((0, 0));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sentence_is_wrapped_without_losing_words() {
        let sentence = "one pod took every call ".repeat(9);
        let mut page = String::new();
        labelled(&mut page, "verdict", Tone::Neutral, [sentence.as_str(), "and more"].into_iter()).unwrap();
        let page = anstream::adapter::strip_str(&page).to_string();
        assert!(page.lines().count() >= 4 && page.lines().all(|line| line.len() <= 80), "{page}");
        assert!(page.lines().skip(1).all(|line| line.starts_with("         ") && line.trim() == &line[9..]));
        let words: Vec<_> = page.split_whitespace().skip(1).collect();
        assert_eq!(words.join(" "), format!("{}and more", sentence));
    }
}
