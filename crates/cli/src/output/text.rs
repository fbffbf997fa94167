//! Text helpers: cut to columns, count with plural, escape control characters, strip terminal control sequences.

use std::borrow::Cow;

use agent_team_protocol::text::{visible, visible_label, visible_line};
use agent_team_terminal_ui::line::Line;
use agent_team_terminal_ui::style::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Cuts a text to a number of terminal columns; a cut text ends with an ellipsis.
pub(crate) fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if text.width() <= columns {
        return Cow::Borrowed(text);
    }
    let (mut kept, mut width) = (String::new(), 1);
    for c in text.chars() {
        width += c.width().unwrap_or(0);
        if width > columns {
            break;
        }
        kept.push(c);
    }
    kept.push('…');
    Cow::Owned(kept)
}

/// Cuts a text to the columns of the terminal that the rest of its line leaves. Without a terminal, returns the whole
/// text.
pub(crate) fn cut_beside<'a>(rest: &str, text: &'a str) -> Cow<'a, str> {
    match super::columns() {
        Some(columns) => cut(text, columns.saturating_sub(rest.width()).max(LEAST)),
        None => Cow::Borrowed(text),
    }
}

/// The line with a final newline. On a terminal, the line is wrapped between words to the columns of the terminal.
pub(crate) fn wrapped(line: &str) -> String {
    wrapped_to(line, super::columns().unwrap_or(usize::MAX))
}

fn wrapped_to(line: &str, columns: usize) -> String {
    let rows = Line::of(Style::PLAIN, line).wrapped(columns, 2);
    rows.iter().map(|row| row.text() + "\n").collect()
}

/// Minimum number of columns that [`cut_beside`] leaves of a text.
const LEAST: usize = 8;

/// `3 tasks`, `1 task`.
pub(crate) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// An untrusted text on one line, with its control characters escaped and without blanks at its end.
pub(crate) fn line(text: &str) -> String {
    visible_line(text.trim_end()).into_owned()
}

/// Maximum length of the line of [`first_line`], in characters.
const FIRST_LINE: usize = 200;

/// The first line of an untrusted text, cut, with the number of lines after it.
pub(crate) fn first_line(text: &str) -> String {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let first = visible_label(lines.next().unwrap_or_default().trim_end(), FIRST_LINE);
    match lines.count() {
        0 => first,
        1 => format!("{first} (+1 line)"),
        more => format!("{first} (+{more} lines)"),
    }
}

/// The output of a program as plain lines, without colours and cursor movements. Text after a carriage return starts a
/// new line instead of overwriting the line.
pub(crate) fn of_program(text: &str) -> String {
    let plain = anstream::adapter::strip_str(text).to_string();
    visible(&plain.replace("\r\n", "\n").replace('\r', "\n")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_text_fits_its_columns() {
        assert_eq!(cut("hello", 5), "hello");
        assert_eq!(cut("hello!", 5), "hell…");
        assert_eq!(cut("名前名前", 5), "名前…");
        assert_eq!(cut("名前名前", 4), "名…");
    }

    #[test]
    fn a_wrapped_line_loses_no_word() {
        assert_eq!(wrapped_to("no member waits", 10), "no member\n  waits\n");
        assert_eq!(
            wrapped_to("  no member waits", usize::MAX),
            "  no member waits\n"
        );
    }

    #[test]
    fn a_long_text_becomes_one_short_line() {
        assert_eq!(first_line("done"), "done");
        assert_eq!(
            first_line("\nT-3 failed:\n\n1%\n2%\n"),
            "T-3 failed: (+2 lines)"
        );
        assert_eq!(first_line(&"x".repeat(2_000)).chars().count(), FIRST_LINE);
        assert_eq!(first_line("a\u{1b}[2J\nb"), "a\\e[2J (+1 line)");
    }

    #[test]
    fn program_output_is_plain_and_harmless() {
        assert_eq!(
            of_program("\u{1b}[32mok\u{1b}[0m\r\n10%\r20%\r\n"),
            "ok\n10%\n20%\n"
        );
        assert_eq!(of_program("a\u{1b}]0;title\u{7}b\u{202e}"), "ab\\u{202e}");
    }
}
