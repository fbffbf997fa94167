//! Text from elsewhere, made harmless to show.
//!
//! Names, titles, messages, directories and results may hold anything. Shown raw they could repaint a terminal, hide
//! behind bidirectional controls or start tmux's `#(…)`. What a terminal or a person could mistake is made visible.

use std::borrow::Cow;

/// The same text with every control, bidirectional and invisible character replaced by a visible escape. Newlines and
/// tabs stay.
pub fn visible(text: &str) -> Cow<'_, str> {
    replace(text, |c| is_deceptive(c) && c != '\n' && c != '\t')
}

/// [`visible`] on one line: newlines and tabs too are escaped.
pub fn visible_line(text: &str) -> Cow<'_, str> {
    replace(text, is_deceptive)
}

/// [`visible_line`], cut to `columns` characters with an ellipsis at the end.
pub fn visible_label(text: &str, columns: usize) -> String {
    let line = visible_line(text);
    if line.chars().count() <= columns {
        return line.into_owned();
    }
    let mut cut: String = line.chars().take(columns.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Line and column of a byte, both from 1, the column in characters. Of a byte within a character: its first.
pub fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

fn replace(text: &str, bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&bad) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !bad(c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{1b}' => out.push_str("\\e"),
            c => out.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_position_leads_back_to_its_byte(text in "[aé\n🙂]{0,40}", at in 0_usize..80) {
            let at = text.floor_char_boundary(at.min(text.len()));
            let (line, column) = position(&text, at);
            let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
            let within: usize = text[start..].chars().take(column - 1).map(char::len_utf8).sum();
            prop_assert_eq!(start + within, at);
            prop_assert!(!text[start..at].contains('\n'));
        }
    }

    #[test]
    fn plain_text_is_left_alone() {
        assert!(matches!(visible("naïve 名前\n\t🙂"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_could_deceive_becomes_visible() {
        assert_eq!(
            visible("\u{1b}[2Jhi\r\u{202e}gpj"),
            "\\e[2Jhi\\r\\u{202e}gpj"
        );
        assert_eq!(visible("\u{9b}31m\u{7f}"), "\\u{9b}31m\\u{7f}");
        assert_eq!(visible_line("a\nb\tc"), "a\\nb\\tc");
    }

    #[test]
    fn a_label_is_cut_by_characters() {
        assert_eq!(visible_label("名前名前", 3), "名前…");
        assert_eq!(visible_label("ada", 3), "ada");
    }
}
